//! `deliveries`: events owed to endpoints.
//!
//! ```text
//!   COMMIT ──▶ pending ──2xx, however late──▶ delivered
//!                │  ▲                            ▲
//!    schedule ends  a person's retry             │ late success
//!                ▼  │                            │
//!             abandoned ─────────────────────────┘
//! ```
//! Each pending delivery has its row in `due`; `due.rs` leases it, `attempts.rs` records what came of it. `retries.rs` keeps
//! what a person has asked for of many.

use std::{collections::BTreeSet, future::Future, time::Duration};

use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;
use vocabulary::{EndpointId, Format, WebhookId};

use crate::{
    QueryResult,
    due::microseconds,
    lanes::{self, Lane},
};

mod causes;
mod pages;
mod told;
mod wanted;

pub use causes::{Cause, causes};
pub use pages::{LOOKED_AT, Page, Place, list, page};
pub use told::{Told, told};
pub use wanted::{DeliveryRow, Wanted, find};

/// An event owed to an endpoint.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// What is owed.
    pub event_id: Uuid,
    /// To whom.
    pub endpoint_id: EndpointId,
    /// Under which id, on every attempt.
    pub webhook_id: WebhookId,
    /// Which body of the event it carries.
    pub format: Format,
    /// The lease that whoever commits it has on it from the start; `None` leaves it to whoever comes first.
    pub lease: Option<i64>,
    /// Of an endpoint that asked for order: its lane. Nobody has a lease on it then.
    pub lane: Option<String>,
    /// Its place in its source, and so in its lane.
    pub sequence: i64,
}

statement! {
    /// The delivery and its due row: one statement, so that there is never one without the other.
    Owe {
        lease_us: i64 => BigInt,
        events: Vec<Uuid> => Array<SqlUuid>,
        endpoints: Vec<&'a str> => Array<Text>,
        webhook_ids: Vec<&'a str> => Array<Text>,
        formats: Vec<&'a str> => Array<Text>,
        leases: Vec<Option<i64>> => Array<Nullable<BigInt>>,
        lanes: Vec<Option<&'a str>> => Array<Nullable<Text>>,
        sequences: Vec<i64> => Array<BigInt>,
    } -> (),
    "WITH asked (ends_at) AS (SELECT now() + ? * interval '1 microsecond'), \
     owed AS MATERIALIZED ( \
         SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?) AS o (event_id, endpoint_id, webhook_id, format, lease, lane, sequence)), \
     kept AS (INSERT INTO deliveries (event_id, endpoint_id, webhook_id, format, lane) \
         SELECT event_id, endpoint_id, webhook_id, format, lane FROM owed) \
     INSERT INTO due (event_id, endpoint_id, due_at, lease, lane, sequence) \
     SELECT event_id, endpoint_id, CASE WHEN lane IS NOT NULL THEN NULL WHEN lease IS NULL THEN now() ELSE ends_at END, \
         lease, lane, CASE WHEN lane IS NOT NULL THEN sequence END FROM owed CROSS JOIN asked"
}

/// Writes what some new events owe: due at once, or leased for `lease`, by Postgres's clock, from the beginning of the
/// transaction. What has a lane is due once it is the first there.
///
/// # Errors
/// As any query.
pub async fn owe(conn: &AsyncPgConnection, deliveries: &[NewDelivery], lease: Duration) -> QueryResult<()> {
    let lanes = lanes::of(deliveries.iter().map(|owed| (owed.endpoint_id.as_str(), owed.lane.as_deref())));
    in_lanes(conn, &lanes, write(conn, deliveries, lease)).await
}

async fn write(conn: &AsyncPgConnection, deliveries: &[NewDelivery], lease: Duration) -> QueryResult<()> {
    let statement = Owe {
        lease_us: microseconds(lease),
        events: deliveries.iter().map(|delivery| delivery.event_id).collect(),
        endpoints: deliveries.iter().map(|delivery| delivery.endpoint_id.as_str()).collect(),
        webhook_ids: deliveries.iter().map(|delivery| delivery.webhook_id.as_str()).collect(),
        formats: deliveries.iter().map(|delivery| delivery.format.as_str()).collect(),
        leases: deliveries.iter().map(|delivery| delivery.lease).collect(),
        lanes: deliveries.iter().map(|delivery| delivery.lane.as_deref()).collect(),
        sequences: deliveries.iter().map(|delivery| delivery.sequence).collect(),
        lifetime: std::marker::PhantomData,
    };
    statement.execute(&mut &*conn).await.map(drop)
}

statement! {
    /// A lease that somebody holds is left to end: a second request beside the one under way would help nobody. Rows of `due`
    /// are locked before those of `deliveries`, as `attempts::record` does, so that the two never wait for each other.
    Again {
        events: Vec<Uuid> => Array<SqlUuid>,
        endpoints: Vec<&'a str> => Array<Text>,
        states: &'a [&'a str] => Array<Text>,
    } -> (SqlUuid, Text),
    "WITH wanted AS MATERIALIZED (SELECT * FROM unnest(?, ?) AS w (event_id, endpoint_id)), \
     locked AS MATERIALIZED (SELECT u.event_id FROM due u JOIN wanted w ON u.event_id = w.event_id AND u.endpoint_id || '' = w.endpoint_id \
         ORDER BY u.event_id, u.endpoint_id FOR UPDATE OF u), \
     ordered AS MATERIALIZED (SELECT d.event_id FROM deliveries d JOIN wanted USING (event_id, endpoint_id) \
         WHERE (SELECT count(*) FROM locked) >= 0 ORDER BY d.event_id, d.endpoint_id FOR UPDATE OF d), \
     again AS (UPDATE deliveries d SET state = 'pending', finished_at = NULL FROM wanted w \
         WHERE d.event_id = w.event_id AND d.endpoint_id = w.endpoint_id AND d.state = ANY(?) \
         AND (SELECT count(*) FROM ordered) >= 0 RETURNING d.event_id, d.endpoint_id, d.lane) \
     INSERT INTO due AS u (event_id, endpoint_id, due_at, lane, sequence) \
     SELECT event_id, endpoint_id, CASE WHEN lane IS NULL THEN now() END, lane, CASE WHEN lane IS NOT NULL THEN \
         (SELECT sequence FROM events WHERE id = event_id) END FROM again ORDER BY 1, 2 \
     ON CONFLICT (event_id, endpoint_id) DO UPDATE SET due_at = CASE WHEN u.due_at IS NOT NULL THEN now() END, \
         attempts = 0, lease = NULL \
     WHERE u.lease IS NULL OR u.due_at <= now() RETURNING event_id, endpoint_id"
}

/// Makes deliveries due again from the start of their schedule, under the same ids, if they are still in one of `states`.
/// A late success of an earlier attempt ends them as ever. Says how many: those that are being sent right now are not.
/// What has a lane waits for its turn there.
///
/// # Errors
/// As any query.
pub async fn make_due(conn: &AsyncPgConnection, rows: &[DeliveryRow], states: &[&str]) -> QueryResult<usize> {
    let statement = Again {
        events: rows.iter().map(|row| row.event_id).collect(),
        endpoints: rows.iter().map(|row| row.endpoint_id.as_str()).collect(),
        states,
        lifetime: std::marker::PhantomData,
    };
    let lanes = lanes::of(rows.iter().map(|row| (row.endpoint_id.as_str(), row.lane.as_deref())));
    let again = async { RunQueryDsl::load::<(Uuid, String)>(statement, &mut &*conn).await };
    let again = in_lanes(conn, &lanes, again).await?;
    Ok(again.len())
}

/// What adds to these lanes: behind their locks, and with the first of each due at the end.
async fn in_lanes<T>(
    conn: &AsyncPgConnection,
    lanes: &BTreeSet<Lane<'_>>,
    change: impl Future<Output = QueryResult<T>>,
) -> QueryResult<T> {
    if lanes.is_empty() {
        return change.await;
    }
    lanes::lock(conn, lanes).await?;
    let changed = change.await?;
    lanes::promote(conn, lanes).await?;
    Ok(changed)
}
