//! `deliveries`: events owed to endpoints.
//!
//! ```text
//!   COMMIT ──▶ pending ──2xx, however late──▶ delivered
//!                │  ▲                            ▲
//!    schedule ends  a person's retry             │ late success
//!                ▼  │                            │
//!             abandoned ─────────────────────────┘
//! ```
//! Each pending delivery has its row in `due`; `due.rs` leases it, `attempts.rs` records what came of it.

use std::{collections::BTreeSet, future::Future, ops::RangeInclusive, time::Duration};

use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use uuid::Uuid;
use vocabulary::{EndpointId, WebhookId};

use crate::{
    QueryResult,
    due::microseconds,
    lanes::{self, Lane},
    schema::{deliveries, due, endpoints, events},
};

/// An event owed to an endpoint.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// What is owed.
    pub event_id: Uuid,
    /// To whom.
    pub endpoint_id: EndpointId,
    /// Under which id, on every attempt.
    pub webhook_id: WebhookId,
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
        leases: Vec<Option<i64>> => Array<Nullable<BigInt>>,
        lanes: Vec<Option<&'a str>> => Array<Nullable<Text>>,
        sequences: Vec<i64> => Array<BigInt>,
    } -> (),
    "WITH asked (ends_at) AS (SELECT now() + ? * interval '1 microsecond'), \
     owed AS MATERIALIZED ( \
         SELECT * FROM unnest(?, ?, ?, ?, ?, ?) AS o (event_id, endpoint_id, webhook_id, lease, lane, sequence)), \
     kept AS (INSERT INTO deliveries (event_id, endpoint_id, webhook_id, lane) \
         SELECT event_id, endpoint_id, webhook_id, lane FROM owed) \
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
        leases: deliveries.iter().map(|delivery| delivery.lease).collect(),
        lanes: deliveries.iter().map(|delivery| delivery.lane.as_deref()).collect(),
        sequences: deliveries.iter().map(|delivery| delivery.sequence).collect(),
        lifetime: std::marker::PhantomData,
    };
    statement.execute(&mut &*conn).await.map(drop)
}

/// A delivery with its place in the queue of what is due: what people look at.
#[derive(Debug, Clone, Serialize, Queryable, Selectable)]
#[diesel(table_name = deliveries)]
pub struct DeliveryRow {
    /// What is owed.
    pub event_id: Uuid,
    /// To whom.
    pub endpoint_id: String,
    /// Under which id.
    pub webhook_id: String,
    /// `pending`, `delivered` or `abandoned`.
    pub state: String,
    /// Requests recorded.
    pub attempts: i32,
    /// When its event was committed.
    pub created_at: DateTime<Utc>,
    /// When it was delivered or abandoned.
    pub finished_at: Option<DateTime<Utc>>,
    /// While pending: when it is tried next, or when the lease on it ends.
    #[diesel(select_expression = due::due_at.nullable())]
    pub due_at: Option<DateTime<Utc>>,
    /// Of an endpoint that asked for order: its lane. Pending and not due, it waits for the one before it.
    pub lane: Option<String>,
    /// The lease that a dispatcher has on it.
    #[diesel(select_expression = due::lease.nullable())]
    pub lease: Option<i64>,
    /// Whether it waits for nothing but its endpoint to be enabled.
    #[diesel(select_expression = deliveries::state.eq("pending").and(endpoints::enabled.eq(false)))]
    pub held: bool,
}

/// Which deliveries to look at; `None` and empty are any.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    /// Named by their webhook ids.
    pub webhook_ids: Vec<&'a str>,
    /// Of this event.
    pub event_id: Option<Uuid>,
    /// To this endpoint.
    pub endpoint_id: Option<&'a str>,
    /// In one of these states.
    pub states: Vec<&'a str>,
    /// Committed no earlier than this.
    pub since: Option<DateTime<Utc>>,
}

/// The newest `limit` deliveries of those wanted, the newest first.
///
/// # Errors
/// As any query.
pub async fn list(conn: &AsyncPgConnection, wanted: &Wanted<'_>, limit: i64) -> QueryResult<Vec<DeliveryRow>> {
    let is_due = due::event_id.eq(deliveries::event_id).and(due::endpoint_id.eq(deliveries::endpoint_id));
    let mut query = deliveries::table
        .inner_join(endpoints::table.on(endpoints::id.eq(deliveries::endpoint_id)))
        .left_join(due::table.on(is_due))
        .order((deliveries::event_id.desc(), deliveries::endpoint_id))
        .limit(limit)
        .select(DeliveryRow::as_select())
        .into_boxed();
    if !wanted.webhook_ids.is_empty() {
        query = query.filter(deliveries::webhook_id.eq_any(&wanted.webhook_ids));
    }
    if let Some(event_id) = wanted.event_id {
        query = query.filter(deliveries::event_id.eq(event_id));
    }
    if let Some(endpoint_id) = wanted.endpoint_id {
        query = query.filter(deliveries::endpoint_id.eq(endpoint_id));
    }
    if !wanted.states.is_empty() {
        query = query.filter(deliveries::state.eq_any(&wanted.states));
    }
    if let Some(since) = wanted.since {
        query = query.filter(deliveries::created_at.ge(since));
    }
    query.load(&mut &*conn).await
}

/// An event of a source as one endpoint sees it: what it is owed of it, if anything.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Told {
    /// Which event.
    pub event_id: Uuid,
    /// Its place among the events of its source.
    pub sequence: Option<i64>,
    /// Under which id it is owed; `None` where it is not.
    pub webhook_id: Option<String>,
    /// In which format.
    pub format: Option<String>,
}

/// The events of a source with these numbers, in their order, as far as their ids say that they were made since `since`:
/// by the clocks of the workers, so that a caller who misses one may look further back. Those that an endpoint is not owed
/// are among them, so that a caller can see that there are no gaps.
///
/// # Errors
/// As any query.
pub async fn told(
    conn: &AsyncPgConnection,
    endpoint: &EndpointId,
    source: &str,
    numbers: RangeInclusive<i64>,
    since: DateTime<Utc>,
) -> QueryResult<Vec<Told>> {
    let (first, last) = numbers.into_inner();
    let is_owed = deliveries::event_id.eq(events::id).and(deliveries::endpoint_id.eq(endpoint.as_str()));
    events::table
        .left_join(deliveries::table.on(is_owed))
        .filter(events::id.ge(first_id_at(since)))
        .filter(events::source_id.eq(source))
        .filter(events::sequence.between(first, last))
        .order(events::sequence)
        .select((events::id, events::sequence, deliveries::webhook_id.nullable(), deliveries::format.nullable()))
        .load(&mut &*conn)
        .await
}

/// No id that is made from `time` on is less: a UUID v7 begins with its 48 bits of milliseconds (RFC 9562, 5.7).
fn first_id_at(time: DateTime<Utc>) -> Uuid {
    Uuid::from_u128(u128::try_from(time.timestamp_millis()).unwrap_or_default() << 80)
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
     locked AS MATERIALIZED (SELECT u.event_id FROM due u JOIN wanted USING (event_id, endpoint_id) \
         ORDER BY u.event_id, u.endpoint_id FOR UPDATE OF u), \
     again AS (UPDATE deliveries d SET state = 'pending', finished_at = NULL FROM wanted w \
         WHERE d.event_id = w.event_id AND d.endpoint_id = w.endpoint_id AND d.state = ANY(?) \
         AND (SELECT count(*) FROM locked) >= 0 RETURNING d.event_id, d.endpoint_id, d.lane) \
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
