//! What a transaction finds new, and who is to be told of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use bytes::Bytes;
use database::{
    AsyncPgConnection, QueryError, QueryResult, Trouble, bodies,
    deliveries::{self, NewDelivery},
    due::{self, Leased},
    endpoints::{self, Subscription},
    events::{self, NewEvent},
    sequences,
};
use futures::{join, try_join};
use uuid::Uuid;
use vocabulary::{Event, KeyHash, OrderedBy, WebhookId};

use crate::{
    desk::Places,
    fold::{Fold, Folded},
    payload::{self, Told},
    unpack::RawWork,
};

/// An item that the ledger does not have.
pub(crate) struct Fresh<'a> {
    pub(crate) hash: KeyHash,
    pub(crate) raw: &'a RawWork,
    pub(crate) event: &'a Event,
}

/// The new events of a transaction.
#[derive(Default)]
pub(crate) struct News<'a> {
    events: Vec<New<'a>>,
    fold: Fold<'a>,
    /// Who may want to hear of them, by source.
    subscriptions: HashMap<String, Vec<Subscription>>,
    /// The last number that each source has now.
    last: BTreeMap<&'a str, i64>,
    /// The lease of what is handed over.
    lease: i64,
}

/// A new event, and what is told of it.
struct New<'a> {
    id: Uuid,
    fresh: Fresh<'a>,
    folded: Folded,
    sequence: i64,
    body: Bytes,
}

/// A delivery to be written.
pub(crate) struct Owed<'n> {
    new: &'n New<'n>,
    to: &'n Subscription,
    webhook_id: WebhookId,
    /// Whether it is handed over.
    pub(crate) has_place: bool,
}

impl<'a> Fresh<'a> {
    fn source(&self) -> &'a str {
        self.raw.raw_event.source_id.as_str()
    }
}

impl<'a> News<'a> {
    /// Reads what the new events are about, and makes of them what is told. `counters` are those of their sources, held.
    pub(crate) async fn read(
        conn: &AsyncPgConnection,
        fresh: Vec<Fresh<'a>>,
        counters: &HashMap<String, i64>,
    ) -> QueryResult<Self> {
        if fresh.is_empty() {
            return Ok(Self::default());
        }
        let about: Vec<_> = fresh.iter().map(|fresh| (fresh.source(), fresh.event)).collect();
        let sources: BTreeSet<_> = fresh.iter().map(Fresh::source).collect();
        let (fold, subscriptions, lease) =
            try_join!(Fold::read(conn, &about), subscriptions(conn, &sources), due::next_lease(conn))?;
        let mut news = Self { fold, subscriptions, lease, ..Self::default() };
        for fresh in fresh {
            let sequence = news.next_number(fresh.source(), counters);
            let new = news.tell(fresh, sequence).map_err(|error| QueryError::SerializationError(error.into()))?;
            news.events.push(new);
        }
        Ok(news)
    }

    fn next_number(&mut self, source: &'a str, counters: &HashMap<String, i64>) -> i64 {
        let last = self.last.entry(source).or_insert_with(|| counters.get(source).copied().unwrap_or_default());
        *last += 1;
        *last
    }

    fn tell(&mut self, fresh: Fresh<'a>, sequence: i64) -> serde_json::Result<New<'a>> {
        let id = Uuid::now_v7();
        let folded = self.fold.apply(fresh.source(), &fresh.raw.provider, fresh.event)?;
        let told = Told {
            event_id: id,
            event_type: &folded.event_type,
            sequence,
            message: folded.message.as_deref(),
            changed: &folded.changed,
        };
        let body = payload::body(fresh.raw, fresh.event, told)?.into();
        Ok(New { id, fresh, folded, sequence, body })
    }

    /// What is owed, and to whom; each with a place, as long as there are some.
    pub(crate) fn owe(&self, places: &mut Places) -> Vec<Owed<'_>> {
        let mut owed = Vec::new();
        for new in self.events.iter().filter(|new| new.folded.owed) {
            let source = &new.fresh.raw.raw_event.source_id;
            let subscriptions = self.subscriptions.get(source.as_str()).into_iter().flatten();
            for to in subscriptions.filter(|to| to.event_types.want(&new.folded.event_type)) {
                let webhook_id = WebhookId::of(source, &new.fresh.event.key, &to.endpoint_id);
                let has_place = to.may_be_handed_over && places.set_aside(&to.endpoint_id, new.body.len());
                owed.push(Owed { new, to, webhook_id, has_place });
            }
        }
        owed
    }

    /// Writes all of it, each row once.
    pub(crate) async fn write(&self, conn: &AsyncPgConnection, owed: &[Owed<'_>], lease: Duration) -> QueryResult<()> {
        if self.events.is_empty() {
            return Ok(());
        }
        let (numbered, entered, folded, kept, owed) = join!(
            sequences::advance(conn, &self.last),
            self.enter_ledger(conn, owed),
            self.fold.write(conn),
            self.keep_bodies(conn),
            self.write_owed(conn, owed, lease),
        );
        root_cause([numbered, entered, folded, kept, owed])
    }

    async fn enter_ledger(&self, conn: &AsyncPgConnection, owed: &[Owed<'_>]) -> QueryResult<()> {
        let mut counts: HashMap<Uuid, i32> = HashMap::with_capacity(self.events.len());
        for owed in owed {
            *counts.entry(owed.new.id).or_default() += 1;
        }
        let owed = |new: &New<'_>| counts.get(&new.id).copied().unwrap_or_default();
        let mut rows: Vec<_> = self.events.iter().map(|new| new.row(owed(new))).collect();
        let entered = events::insert(conn, &mut rows).await?;
        // Whoever entered some of them did not hold the counter. It is not for us to number them: again, and look up anew.
        if entered == rows.len() { Ok(()) } else { Err(QueryError::NotFound) }
    }

    async fn keep_bodies(&self, conn: &AsyncPgConnection) -> QueryResult<()> {
        let bodies: Vec<_> = self.events.iter().map(|new| (new.id, new.body.clone())).collect();
        bodies::insert(conn, &bodies).await
    }

    async fn write_owed(&self, conn: &AsyncPgConnection, owed: &[Owed<'_>], lease: Duration) -> QueryResult<()> {
        let row = |owed: &Owed<'_>| NewDelivery {
            event_id: owed.new.id,
            endpoint_id: owed.to.endpoint_id.clone(),
            webhook_id: owed.webhook_id.clone(),
            lease: owed.has_place.then_some(self.lease),
            lane: owed.lane(),
            sequence: owed.new.sequence,
        };
        let rows: Vec<_> = owed.iter().map(row).collect();
        if rows.is_empty() { Ok(()) } else { deliveries::owe(conn, &rows, lease).await }
    }

    /// What has a place, as it is handed over.
    pub(crate) fn handed(&self, owed: &[Owed<'_>]) -> Vec<Leased> {
        let leased = |owed: &Owed<'_>| Leased {
            event_id: owed.new.id,
            endpoint_id: owed.to.endpoint_id.clone(),
            lease: self.lease,
            attempts: 0,
            webhook_id: owed.webhook_id.as_str().to_owned(),
            body: owed.new.body.clone(),
            target: owed.to.target.clone(),
            has_gate: false,
            lane: None,
        };
        owed.iter().filter(|owed| owed.has_place).map(leased).collect()
    }
}

impl Owed<'_> {
    /// Which of its endpoint's lanes it goes into, if that asked for order. What has no sender shares its source's.
    fn lane(&self) -> Option<String> {
        let source = self.new.fresh.source();
        Some(match (self.to.ordered_by?, &self.new.folded.sender) {
            (OrderedBy::Sender, Some(sender)) => format!("{source} {sender}"),
            (OrderedBy::Source | OrderedBy::Sender, _) => source.to_owned(),
        })
    }
}

impl<'a> New<'a> {
    fn row(&self, deliveries_owed: i32) -> NewEvent<'_> {
        let RawWork { stamp, raw_event, .. } = self.fresh.raw;
        NewEvent {
            id: self.id,
            key_hash: self.fresh.hash,
            source_id: raw_event.source_id.as_str(),
            key: self.fresh.event.key.as_str(),
            kind: &self.fresh.event.kind,
            stamp,
            occurred_at: self.fresh.event.occurred_at,
            received_at: raw_event.received_at,
            sequence: self.sequence,
            event_type: self.folded.owed.then_some(&*self.folded.event_type),
            deliveries_owed,
        }
    }
}

async fn subscriptions(
    conn: &AsyncPgConnection,
    sources: &BTreeSet<&str>,
) -> QueryResult<HashMap<String, Vec<Subscription>>> {
    let sources: Vec<_> = sources.iter().copied().collect();
    let all = endpoints::subscriptions(conn, &sources).await;
    let mut by_source: HashMap<String, Vec<Subscription>> = HashMap::new();
    for subscription in all.map_err(|error| QueryError::DeserializationError(error.into()))? {
        by_source.entry(subscription.source_id.clone()).or_default().push(subscription);
    }
    Ok(by_source)
}

/// The error that made the others: what is sent behind a statement that fails only hears that the transaction is aborted,
/// which is no kind of trouble that we know, and in English where Postgres may speak it.
pub(crate) fn root_cause<const N: usize>(results: [QueryResult<()>; N]) -> QueryResult<()> {
    let mut errors: Vec<QueryError> = results.into_iter().filter_map(Result::err).collect();
    let known = errors.iter().position(|error| database::trouble(error) != Trouble::Outage);
    let other = || errors.iter().position(|error| !error.to_string().contains("current transaction is aborted"));
    match known.or_else(other).or((!errors.is_empty()).then_some(0)) {
        Some(root) => Err(errors.swap_remove(root)),
        None => Ok(()),
    }
}
