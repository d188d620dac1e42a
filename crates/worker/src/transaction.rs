//! The one transaction. **This is where a duplicate is stopped for good**: by the ledger's unique constraint.
//!
//! The order in which it takes locks is the same everywhere, so that two of them wait for each other and never lock each
//! other out: ledger keys, sorted → one counter row per source → messages, sorted, each once → deliveries → receipts.
//! Nothing in here talks to anybody but Postgres.

use std::collections::{BTreeMap, HashMap, HashSet};

use database::{
    AsyncPgConnection, Connection, QueryError, QueryResult, bodies,
    deliveries::{self, NewDelivery},
    endpoints::{self, Subscription},
    events::{self, Finished, NewEvent},
    quarantine::{self, Rejected},
    sequences,
};
use diesel_async::AsyncConnection;
use fail::fail_point;
use queue::Claim;
use uuid::Uuid;
use vocabulary::{Event, KeyHash, Stamp, WebhookId};

use crate::{
    fold::{Fold, Folded},
    payload::{self, Told},
    pieces::{At, Piece, Settled},
    receipt,
    unpack::{Outcome, RawWork, Work},
};

struct Group<'a> {
    works: &'a [Work],
    pieces: &'a [Piece],
}

/// The one transaction: everything that these pieces make true, or nothing.
///
/// That COMMIT has returned means that the server has committed. PostgreSQL answers ROLLBACK to the COMMIT of a
/// transaction in which a statement had failed; here each statement's failure ends the closure with an error, and the
/// transaction is then rolled back, not committed.
pub(crate) async fn commit(connection: &mut Connection, works: &[Work], pieces: &[Piece]) -> QueryResult<Settled> {
    let group = Group { works, pieces };
    connection
        .transaction(async |conn| {
            let mut settled = Settled::default();
            let fresh = group.enter_ledger(conn, &mut settled).await?;
            group.tell(conn, &fresh, &mut settled).await?;
            fail_point!("worker-in-transaction");
            group.quarantine(conn, &mut settled).await?;
            receipt::write(conn, works, pieces, &settled).await?;
            Ok::<_, QueryError>(settled)
        })
        .await
}

/// An item that the ledger did not have.
struct Fresh<'a> {
    id: Uuid,
    raw: &'a RawWork,
    event: &'a Event,
}

impl<'a> Group<'a> {
    fn raw(&self, at: At) -> &'a RawWork {
        &self.works[at.job].raw_events[at.raw]
    }

    fn event(&self, at: At) -> Option<&'a Event> {
        self.raw(at).items[at.place].item.as_ref().ok()
    }

    fn keys(&self) -> impl Iterator<Item = (KeyHash, Claim, &'a [At])> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Key { hash, claim, places } => Some((*hash, *claim, places.as_slice())),
            Piece::Rejection(_) | Piece::Empty { .. } => None,
        })
    }

    /// Ledger: keys that Redis calls done are looked up, the others inserted; whoever is there already committed them.
    async fn enter_ledger(&self, conn: &AsyncPgConnection, settled: &mut Settled) -> QueryResult<Vec<Fresh<'a>>> {
        let done: Vec<_> = self.keys().filter(|key| key.1 == Claim::Done).map(|key| key.0).collect();
        let mut committers = look_up(conn, &done).await?;
        settled.false_done = done.len() - committers.len();

        let unknown = self.keys().filter(|(hash, ..)| !committers.contains_key(hash));
        let candidates: Vec<_> =
            unknown.filter_map(|(hash, _, places)| Some((places[0], hash, self.event(places[0])?))).collect();
        let mut rows: Vec<_> = candidates.iter().map(|(at, hash, event)| self.row(*hash, *at, event)).collect();
        let ids: HashMap<KeyHash, Uuid> = rows.iter().map(|row| (row.key_hash, row.id)).collect();
        let new = if rows.is_empty() { HashSet::new() } else { events::insert(conn, &mut rows).await? };

        let (fresh, lost): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|(_, hash, _)| new.contains(&ids[hash]));
        let lost: Vec<_> = lost.into_iter().map(|(_, hash, _)| hash).collect();
        committers.extend(look_up(conn, &lost).await?);
        committers.extend(fresh.iter().map(|(at, hash, _)| (*hash, self.raw(*at).stamp.clone())));
        if self.keys().any(|(hash, ..)| !committers.contains_key(&hash)) {
            // Neither inserted nor there: somebody deletes from the ledger at this moment. Again, later.
            return Err(QueryError::NotFound);
        }
        settled.fresh = fresh.len();
        self.judge(&committers, settled);
        Ok(fresh.into_iter().map(|(at, hash, event)| Fresh { id: ids[&hash], raw: self.raw(at), event }).collect())
    }

    fn row(&self, key_hash: KeyHash, at: At, event: &'a Event) -> NewEvent<'a> {
        let RawWork { stamp, raw_event, .. } = self.raw(at);
        NewEvent {
            id: Uuid::now_v7(),
            key_hash,
            source_id: raw_event.source_id.as_str(),
            key: event.key.as_str(),
            kind: &event.kind,
            stamp,
            occurred_at: event.occurred_at,
            received_at: raw_event.received_at,
        }
    }

    /// An item is committed if its own raw event committed its key, and it is the first there with it; else a duplicate.
    fn judge(&self, committers: &HashMap<KeyHash, Stamp>, settled: &mut Settled) {
        for (hash, _, places) in self.keys() {
            let committer = committers.get(&hash);
            let own = places.iter().find(|at| Some(&self.raw(**at).stamp) == committer);
            for at in places {
                let outcome = if Some(at) == own { Outcome::Committed } else { Outcome::Duplicate };
                settled.outcomes.insert(*at, outcome);
            }
        }
    }

    /// Sequence, messages, deliveries with the snapshot: what a new event is, and who is owed to hear of it.
    async fn tell(&self, conn: &AsyncPgConnection, fresh: &[Fresh<'a>], settled: &mut Settled) -> QueryResult<()> {
        if fresh.is_empty() {
            return Ok(());
        }
        let sequences = take_sequences(conn, fresh).await?;
        let about: Vec<_> = fresh.iter().map(|new| (new.raw.raw_event.source_id.as_str(), new.event)).collect();
        let mut fold = Fold::read(conn, &about).await?;
        let folded: Vec<_> = fresh
            .iter()
            .map(|new| fold.apply(new.raw.raw_event.source_id.as_str(), &new.raw.provider, new.event))
            .collect();
        fold.write(conn).await?;

        let owed = owe(conn, fresh, &folded).await?;
        settled.owes = !owed.is_empty();
        let mut told = Vec::with_capacity(fresh.len());
        for ((new, folded), sequence) in fresh.iter().zip(&folded).zip(&sequences) {
            told.push((new.id, build_body(new, folded, *sequence)?));
        }
        bodies::insert(conn, &told).await?;
        let finished: Vec<_> = fresh
            .iter()
            .zip(&folded)
            .zip(&sequences)
            .map(|((new, folded), sequence)| Finished {
                id: new.id,
                sequence: *sequence,
                event_type: folded.owed.then_some(folded.event_type.as_str()),
                deliveries_owed: owed.get(&new.id).copied().unwrap_or(0),
            })
            .collect();
        events::finish(conn, &finished).await
    }

    async fn quarantine(&self, conn: &AsyncPgConnection, settled: &mut Settled) -> QueryResult<()> {
        let rejections = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Rejection(at) => Some(*at),
            Piece::Key { .. } | Piece::Empty { .. } => None,
        });
        let rejected: Vec<_> = rejections.filter_map(|at| Some((at, self.rejected(at)?))).collect();
        if rejected.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = rejected.iter().map(|(_, row)| row.clone()).collect();
        quarantine::put(conn, &rows).await?;
        settled.outcomes.extend(rejected.iter().map(|(at, _)| (*at, Outcome::Quarantined)));
        Ok(())
    }

    fn rejected(&self, at: At) -> Option<Rejected<'a>> {
        let RawWork { stamp, raw_event, items, .. } = self.raw(at);
        let place = &items[at.place];
        let rejection = place.item.as_ref().err()?;
        Some(Rejected { stamp, raw_event, item: place.index, rejection })
    }
}

async fn look_up(conn: &AsyncPgConnection, hashes: &[KeyHash]) -> QueryResult<HashMap<KeyHash, Stamp>> {
    if hashes.is_empty() { Ok(HashMap::new()) } else { events::committed_by(conn, hashes).await }
}

/// The place of each new event among those of its source: the counters are held from here to COMMIT.
async fn take_sequences(conn: &AsyncPgConnection, fresh: &[Fresh<'_>]) -> QueryResult<Vec<i64>> {
    let mut wanted: BTreeMap<&str, i64> = BTreeMap::new();
    for new in fresh {
        *wanted.entry(new.raw.raw_event.source_id.as_str()).or_default() += 1;
    }
    let last = sequences::advance(conn, &wanted).await?;
    let mut next: HashMap<&str, i64> =
        wanted.iter().map(|(source, count)| (*source, last.get(*source).copied().unwrap_or(*count) - count)).collect();
    let taken = fresh.iter().map(|new| {
        let next = next.entry(new.raw.raw_event.source_id.as_str()).or_default();
        *next += 1;
        *next
    });
    Ok(taken.collect())
}

/// Writes the deliveries that new events owe; gives how many each.
async fn owe(conn: &AsyncPgConnection, fresh: &[Fresh<'_>], folded: &[Folded]) -> QueryResult<HashMap<Uuid, i32>> {
    let mut sources: Vec<_> = fresh.iter().map(|new| new.raw.raw_event.source_id.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    let subscriptions = endpoints::subscriptions(conn, &sources)
        .await
        .map_err(|error| QueryError::DeserializationError(error.into()))?;
    let mut by_source: HashMap<&str, Vec<&Subscription>> = HashMap::new();
    for subscription in &subscriptions {
        by_source.entry(&subscription.source_id).or_default().push(subscription);
    }
    let mut deliveries = Vec::new();
    let mut owed = HashMap::new();
    for (new, folded) in fresh.iter().zip(folded).filter(|(_, folded)| folded.owed) {
        let source = &new.raw.raw_event.source_id;
        let wanting = by_source.get(source.as_str()).into_iter().flatten();
        for subscription in wanting.filter(|subscription| subscription.event_types.want(&folded.event_type)) {
            let webhook_id = WebhookId::of(source, &new.event.key, &subscription.endpoint_id);
            deliveries.push(NewDelivery { event_id: new.id, endpoint_id: &subscription.endpoint_id, webhook_id });
            *owed.entry(new.id).or_default() += 1;
        }
    }
    if !deliveries.is_empty() {
        deliveries::owe(conn, &deliveries).await?;
    }
    Ok(owed)
}

fn build_body(new: &Fresh<'_>, folded: &Folded, sequence: i64) -> QueryResult<Vec<u8>> {
    let told = Told {
        event_id: new.id,
        event_type: &folded.event_type,
        sequence,
        message: folded.message.clone(),
        changed: &folded.changed,
    };
    payload::body(new.raw, new.event, told).map_err(|error| QueryError::SerializationError(error.into()))
}
