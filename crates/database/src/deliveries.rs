//! `deliveries`: events owed to endpoints.
//!
//! ```text
//!   COMMIT ──▶ pending ──2xx, however late──▶ delivered
//!               │   ▲                          │  ▲
//!  schedule ends,   a person's retry ◀─────────┘  │ late success
//! a person's word   │                             │
//!               ▼   │                             │
//!             abandoned ──────────────────────────┘
//! ```
//! What a person's retry takes from delivered goes back there, and never to abandoned: its customer has it (`due.delivered_at`).
//! Each pending delivery has its row in `due`; `due.rs` leases it, `attempts.rs` records what came of it. A person's words
//! are `again.rs` and `abandon.rs`; `retries.rs` keeps what a person has asked for of many.

use std::{collections::BTreeSet, future::Future, time::Duration};

use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;
use vocabulary::{EndpointId, Format, WebhookId};

use crate::{
    QueryResult,
    due::microseconds,
    lanes::{self, Lane},
    statement::nullable,
};

mod abandon;
mod again;
mod backlog;
mod causes;
mod pages;
mod places;
mod told;
mod waiting;
mod wanted;

pub use abandon::{Abandoned, abandon, as_given};
pub use again::{Again, make_due};
pub use backlog::{Backlog, backlog, oldest_due};
pub use causes::{Cause, causes};
pub use pages::{LOOKED_AT, Page, list, page};
pub use places::Place;
pub use told::{Told, told};
pub use waiting::{Gate, MadeDue, Resting};
pub use wanted::{DeliveryRow, Reason, Wanted, find};

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
        sequences: Vec<Option<i64>> => Array<Nullable<BigInt>>,
    } -> (),
    "WITH asked (ends_at) AS (SELECT now() + ? * interval '1 microsecond'), \
     owed AS MATERIALIZED ( \
         SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?) AS o (event_id, endpoint_id, webhook_id, format, lease, lane, sequence)), \
     kept AS (INSERT INTO deliveries (event_id, endpoint_id, webhook_id, format, lane) \
         SELECT event_id, endpoint_id, webhook_id, format, lane FROM owed) \
     INSERT INTO due (event_id, endpoint_id, due_at, lease, lane, sequence) \
     SELECT event_id, endpoint_id, CASE WHEN lane IS NOT NULL THEN NULL WHEN lease IS NULL THEN now() ELSE ends_at END, \
         lease, lane, sequence FROM owed CROSS JOIN asked"
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
        leases: nullable(deliveries.iter().map(|delivery| delivery.lease)),
        lanes: nullable(deliveries.iter().map(|delivery| delivery.lane.as_deref())),
        sequences: nullable(deliveries.iter().map(|delivery| delivery.lane.as_ref().map(|_| delivery.sequence))),
        lifetime: std::marker::PhantomData,
    };
    statement.execute(&mut &*conn).await.map(drop)
}

/// What adds to these lanes, or takes from them: behind their locks, and with the first of each due at the end.
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
