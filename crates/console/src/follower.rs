//! What has been committed to one endpoint since it was last asked.
//!
//! Deliveries have no number of their own, and no index by the time of their COMMIT: it would cost every delivery something
//! for the sake of one developer. But the events of a source are numbered in the order of their COMMIT, without gaps, and
//! the last number stands in a row of its own. So one look at that row says how many events to find, and those whose ids
//! were made in the last seconds are nearly always all of them. Where some are missing (a worker's clock is behind, or a
//! transaction was long), the look goes further back, until they are found. Nothing rests on anybody's clock but how far
//! back a look must go. It reads the primary keys of what was made since (measured in a ledger of 400,000 events, of which
//! 5,500 were that young: less than a millisecond).

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use database::{AsyncPgConnection, QueryResult, deliveries, deliveries::Told, sequences};
use tracing::warn;
use uuid::Uuid;
use vocabulary::EndpointId;

/// How far back the first look goes, and by how many times as much the next.
const LOOK_BACK: TimeDelta = TimeDelta::seconds(5);
const FURTHER: i32 = 8;
/// How far back a look goes at most. No worker's clock is behind by an hour and nobody notices.
const FURTHEST: TimeDelta = TimeDelta::hours(1);
/// Events of one source in one look.
const MOST: i64 = 500;

/// A delivery to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) event_id: Uuid,
    pub(crate) webhook_id: String,
    pub(crate) format: String,
}

/// Follows what is committed to an endpoint.
pub(crate) struct Follower {
    endpoint: EndpointId,
    /// The last number seen of each source; of one that is absent, none.
    seen: HashMap<String, i64>,
    /// Everything that was committed before is seen.
    caught_up: DateTime<Utc>,
}

impl Follower {
    /// Begins behind what is committed now.
    pub(crate) async fn begin(conn: &AsyncPgConnection, endpoint: EndpointId, now: DateTime<Utc>) -> QueryResult<Self> {
        let seen = sequences::of_account(conn, &endpoint).await?.into_iter().collect();
        Ok(Self { endpoint, seen, caught_up: now })
    }

    /// What the endpoint is newly owed, of each source in the order of COMMIT; some of it, when it is much. After an error
    /// the same is asked for again.
    pub(crate) async fn next(&mut self, conn: &AsyncPgConnection, now: DateTime<Utc>) -> QueryResult<Vec<Owed>> {
        let (mut found, mut places, mut is_all) = (Vec::new(), Vec::new(), true);
        for (source, last) in sequences::of_account(conn, &self.endpoint).await? {
            let seen = self.seen.get(&source).copied().unwrap_or_default();
            let upto = last.min(seen + MOST);
            is_all &= upto == last;
            if upto > seen {
                found.extend(self.look(conn, &source, seen + 1, upto).await?);
            }
            // Also backwards: a Postgres that has lost commits counts them anew.
            places.push((source, upto));
        }
        self.seen.extend(places);
        if is_all {
            self.caught_up = now;
        }
        Ok(found.into_iter().filter_map(owed).collect())
    }

    /// The events of a source from `first` to `last`: as far back as it takes to find them all.
    async fn look(&self, conn: &AsyncPgConnection, source: &str, first: i64, last: i64) -> QueryResult<Vec<Told>> {
        let mut back = LOOK_BACK;
        loop {
            let told = deliveries::told(conn, &self.endpoint, source, first..=last, self.caught_up - back).await?;
            let missing = last - first + 1 - i64::try_from(told.len()).unwrap_or(i64::MAX);
            if missing <= 0 {
                return Ok(told);
            }
            if back >= FURTHEST {
                warn!(
                    source.id = source,
                    "source {source}: {missing} of the events {first} to {last} are not among those of the last hour; not streamed"
                );
                return Ok(told);
            }
            back = (back * FURTHER).min(FURTHEST);
        }
    }
}

fn owed(told: Told) -> Option<Owed> {
    Some(Owed { event_id: told.event_id, webhook_id: told.webhook_id?, format: told.format? })
}
