//! What a transaction finds new, and who is to be told of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use database::{
    AsyncPgConnection, QueryError, QueryResult, Trouble, bodies,
    deliveries::{self, NewDelivery},
    due::{self, Leased},
    endpoints::Subscription,
    events::{self, NewEvent},
    is_echo, sequences,
};
use futures::{join, try_join};
use uuid::Uuid;
use vocabulary::{Event, Format, KeyHash, OrderedBy, WebhookId, lane_name};

use crate::{
    book::Book,
    desk::Places,
    fold::{Fold, Folded},
    handler::HandledEvent,
    payload::Told,
    selecting::Subscriptions,
    unpack::RawWork,
};

/// An item that the ledger does not have.
pub(crate) struct Fresh<'a> {
    pub(crate) hash: KeyHash,
    pub(crate) raw: &'a RawWork,
    pub(crate) event: &'a Event,
    /// Whether a claim alone says so: it was not looked up.
    pub(crate) is_believed: bool,
}

/// The new events of a transaction.
#[derive(Default)]
pub(crate) struct News<'a> {
    events: Vec<New<'a>>,
    fold: Fold<'a>,
    subscriptions: Subscriptions,
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
    /// In the thin format, where somebody who wants it asks for that.
    thin_body: Option<Bytes>,
    /// To whom it is owed.
    wanted_by: Vec<Arc<Subscription>>,
}

/// A delivery to be written.
pub(crate) struct Owed<'n> {
    new: &'n New<'n>,
    to: &'n Subscription,
    webhook_id: WebhookId,
    /// Whether it is handed over.
    has_place: bool,
}

impl<'a> Fresh<'a> {
    pub(crate) fn source(&self) -> &'a str {
        self.raw.raw_event.source_id.as_str()
    }
}

impl<'a> News<'a> {
    /// Reads what the new events are about, and makes of them what is told. `counters` are those of their sources, held.
    pub(crate) async fn read(
        conn: &AsyncPgConnection,
        fresh: Vec<Fresh<'a>>,
        counters: &HashMap<String, i64>,
        book: &Book,
    ) -> QueryResult<Self> {
        if fresh.is_empty() {
            return Ok(Self::default());
        }
        let accounts: BTreeSet<_> = fresh.iter().map(|fresh| fresh.raw.account_id()).collect();
        let (fold, subscriptions, lease) =
            try_join!(Fold::read(conn, &fresh), Subscriptions::read(conn, book, &accounts), due::next_lease(conn))?;
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
        let folded = self.fold.apply(fresh.source(), fresh.raw.provider(), fresh.event)?;
        let told = Told {
            event_id: id,
            event_type: &folded.event_type,
            sequence,
            message: folded.message.as_deref(),
            changed: &folded.changed,
        };
        let body: Bytes = told.full(fresh.raw, fresh.event)?.into();
        let mut wanted_by = Vec::new();
        if folded.owed {
            wanted_by = self.subscriptions.wanting(fresh.raw, &folded.event_type, &body);
        }
        let is_asked_for_thin = wanted_by.iter().any(|to| to.format == Format::Thin);
        let thin_body = is_asked_for_thin.then(|| told.thin(fresh.raw, fresh.event)).transpose()?.map(Bytes::from);
        Ok(New { id, fresh, folded, sequence, body, thin_body, wanted_by })
    }

    /// What is owed, and to whom; each with a place, as long as there are some.
    pub(crate) fn owe(&self, places: &mut Places) -> Vec<Owed<'_>> {
        let mut owed = Vec::new();
        for new in &self.events {
            let source = &new.fresh.raw.raw_event.source_id;
            for to in &new.wanted_by {
                let webhook_id = WebhookId::of(source, &new.fresh.event.key, &to.endpoint_id);
                let bytes = new.body(to.format).len();
                let has_place = self.subscriptions.may_be_handed_over(to) && places.set_aside(to, bytes);
                owed.push(Owed { new, to, webhook_id, has_place });
            }
        }
        owed
    }

    /// Whether some of it is for a dispatcher to find, and can be found: of an endpoint that rests nothing can, until it does no
    /// more. To be looked for in vain with each transaction, for as long as somebody is down, takes time from those who are not.
    pub(crate) fn leaves_something_due(&self, owed: &[Owed<'_>]) -> bool {
        owed.iter().any(|owed| !owed.has_place && !self.subscriptions.rests(owed.to))
    }

    /// The new events as a handler sees them, in the order of their sequence.
    pub(crate) fn handled(&self) -> impl ExactSizeIterator<Item = (KeyHash, HandledEvent<'_>)> {
        self.events.iter().map(|new| (new.fresh.hash, new.handled()))
    }

    /// Writes all of it, each row once.
    pub(crate) async fn write(&self, conn: &AsyncPgConnection, owed: &[Owed<'_>], lease: Duration) -> QueryResult<()> {
        if self.events.is_empty() {
            return Ok(());
        }
        let (numbered, entered, folded, kept, owed) = join!(
            sequences::advance(conn, &self.last),
            self.enter_ledger(conn),
            self.fold.write(conn),
            self.keep_bodies(conn),
            self.write_owed(conn, owed, lease),
        );
        root_cause([numbered, entered, folded, kept, owed])
    }

    async fn enter_ledger(&self, conn: &AsyncPgConnection) -> QueryResult<()> {
        let mut rows: Vec<_> = self.events.iter().map(New::row).collect();
        events::insert(conn, &mut rows).await
    }

    async fn keep_bodies(&self, conn: &AsyncPgConnection) -> QueryResult<()> {
        let full = self.events.iter().map(|new| (new.id, Format::Full, new.body.clone()));
        let thin = self.events.iter().filter_map(|new| Some((new.id, Format::Thin, new.thin_body.clone()?)));
        bodies::insert(conn, &full.chain(thin).collect::<Vec<_>>()).await
    }

    async fn write_owed(&self, conn: &AsyncPgConnection, owed: &[Owed<'_>], lease: Duration) -> QueryResult<()> {
        let row = |owed: &Owed<'_>| NewDelivery {
            event_id: owed.new.id,
            endpoint_id: owed.to.endpoint_id.clone(),
            webhook_id: owed.webhook_id.clone(),
            format: owed.to.format,
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
            again: false,
            webhook_id: owed.webhook_id.as_str().to_owned(),
            body: owed.new.body(owed.to.format).clone(),
            target: owed.to.target.clone(),
            gate: None,
            lane: None,
            part: 1,
        };
        owed.iter().filter(|owed| owed.has_place).map(leased).collect()
    }
}

impl Owed<'_> {
    /// Which of its endpoint's lanes it goes into, if that asked for order. What has no sender shares its source's.
    fn lane(&self) -> Option<String> {
        let sender = match self.to.ordered_by? {
            OrderedBy::Sender => self.new.folded.sender.as_deref(),
            OrderedBy::Source => None,
        };
        Some(lane_name(&self.new.fresh.raw.raw_event.source_id, sender))
    }
}

impl New<'_> {
    /// What is told of it in a format that somebody who wants it asks for.
    fn body(&self, format: Format) -> &Bytes {
        match (format, &self.thin_body) {
            (Format::Thin, Some(thin)) => thin,
            _ => &self.body,
        }
    }

    fn handled(&self) -> HandledEvent<'_> {
        let Fresh { raw, event, .. } = &self.fresh;
        let raw_event = &raw.raw_event;
        HandledEvent {
            id: self.id,
            source_id: &raw_event.source_id,
            account_id: raw.account_id(),
            provider: raw.provider(),
            key: &event.key,
            kind: &event.kind,
            event_type: &self.folded.event_type,
            sequence: self.sequence,
            occurred_at: event.occurred_at,
            received_at: raw_event.received_at,
            message: self.folded.message.as_deref(),
            body: &self.body,
            raw: &event.raw,
        }
    }

    fn row(&self) -> NewEvent<'_> {
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
            deliveries_owed: i32::try_from(self.wanted_by.len()).unwrap_or(i32::MAX),
        }
    }
}

/// The error that made the others: what is sent behind a statement that fails only hears that the transaction is aborted. That is
/// known where Postgres may speak English; elsewhere it is no kind of trouble that we know.
pub(crate) fn root_cause<const N: usize>(results: [QueryResult<()>; N]) -> QueryResult<()> {
    let mut errors: Vec<QueryError> = results.into_iter().filter_map(Result::err).collect();
    let is_known =
        |error: &QueryError| !is_echo(error) && !matches!(database::trouble(error), Trouble::Outage | Trouble::Unknown);
    let known = errors.iter().position(is_known);
    let other = || errors.iter().position(|error| !is_echo(error));
    match known.or_else(other).or((!errors.is_empty()).then_some(0)) {
        Some(root) => Err(errors.swap_remove(root)),
        None => Ok(()),
    }
}
