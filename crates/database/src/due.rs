//! `due`: the pending deliveries, and who is sending them just now.
//!
//! ```text
//!     ┌──(whoever commits it has it sent)──┐
//!     │                                    ▼
//!   owed ──▶ due ──lease──────────────▶ leased ──attempts::record: delivered, abandoned──▶ gone
//!             ▲               │ │
//!             │   release     │ └──attempts::record: retry, under this very lease──▶ due, later
//!             └───────────────┘
//!             └── the lease ends unrecorded: its dispatcher died
//! ```
//! A lease is an economy: it keeps two dispatchers from sending the same delivery at the same time. That a delivery is not
//! forgotten rests on its row being here, and that a late result does no harm on the number of its lease.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Binary, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;
use vocabulary::{EndpointId, IdError};

use crate::{QueryError, QueryResult, endpoints::Target};

/// How many deliveries may be taken, or how many more fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Of all kinds.
    pub all: usize,
    /// Retries among them. Less than all of them, so that a backlog of retries never starves first attempts.
    pub retries: usize,
}

/// What a dispatcher asks for.
#[derive(Debug, Clone)]
pub struct LeaseRequest<'a> {
    /// How many it can start now.
    pub room: Room,
    /// How many of them for an endpoint that is not in `busy`.
    pub per_endpoint: Room,
    /// The endpoints that it is sending to, with what each can still take.
    pub busy: &'a [(EndpointId, Room)],
    /// How long it needs them for, by Postgres's clock.
    pub lease: Duration,
}

/// A delivery that the caller alone may send until the lease ends.
#[derive(Debug, Clone)]
pub struct Leased {
    /// What is owed.
    pub event_id: Uuid,
    /// To whom.
    pub endpoint_id: EndpointId,
    /// The number of the lease.
    pub lease: i64,
    /// Requests recorded since it was last made due; the place in the retry schedule.
    pub attempts: u32,
    /// Under which id, on every attempt.
    pub webhook_id: String,
    /// What the customer is told, the same on every attempt.
    pub body: Bytes,
    /// Where to, and what signs it.
    pub target: Arc<Target>,
}

statement! {
    /// Fair over endpoints: whoever has least in flight comes first, equals in random order, and each gets the same share
    /// of what was asked for; what one leaves, the next call finds.
    ///
    /// `owing` hops through the index from endpoint to endpoint, so that a backlog of one costs no more than a single row.
    /// Rows are updated where they were found (`ctid`), because a join on the key may be planned as a scan of the table.
    Lease {
        room: i64 => BigInt,
        retry_room: i64 => BigInt,
        each: i64 => BigInt,
        each_retries: i64 => BigInt,
        lease_us: i64 => BigInt,
        busy: Vec<&'a str> => Array<Text>,
        busy_rooms: Vec<i64> => Array<BigInt>,
        busy_retries: Vec<i64> => Array<BigInt>,
    } -> (
        SqlUuid, Text, BigInt, Integer, Text, Binary, Text, Array<Binary>, Array<Nullable<Timestamptz>>, Nullable<Binary>,
        Nullable<Array<Integer>>
    ),
    "WITH RECURSIVE asked (room, retries, each, each_retries, lease_us) AS (SELECT ?, ?, ?, ?, ?), \
     busy (id, room, retries) AS (SELECT * FROM unnest(?, ?, ?)), \
     owing (id) AS ( \
         (SELECT endpoint_id FROM due ORDER BY endpoint_id LIMIT 1) \
         UNION ALL \
         SELECT (SELECT d.endpoint_id FROM due d WHERE d.endpoint_id > o.id ORDER BY d.endpoint_id LIMIT 1) \
         FROM owing o WHERE o.id IS NOT NULL), \
     ready AS MATERIALIZED ( \
         SELECT e.id, coalesce(b.room, a.each) AS room, coalesce(b.retries, a.each_retries) AS retries \
         FROM asked a CROSS JOIN owing o JOIN endpoints e ON e.id = o.id LEFT JOIN busy b ON b.id = e.id \
         WHERE e.enabled AND coalesce(b.room, a.each) > 0 AND ( \
             (SELECT due_at FROM due WHERE endpoint_id = e.id AND NOT retry ORDER BY due_at LIMIT 1) <= now() OR \
             (SELECT due_at FROM due WHERE endpoint_id = e.id AND retry ORDER BY due_at LIMIT 1) <= now()) \
         ORDER BY 2 DESC, random()), \
     share AS MATERIALIZED (SELECT greatest(1, a.room / greatest(1, (SELECT count(*) FROM ready))) AS rows FROM asked a), \
     again AS MATERIALIZED ( \
         SELECT d.place, d.endpoint_id FROM share s CROSS JOIN ready r CROSS JOIN LATERAL ( \
             SELECT ctid AS place, endpoint_id FROM due WHERE endpoint_id = r.id AND retry AND due_at <= now() \
             ORDER BY due_at LIMIT least(r.room, r.retries, s.rows) FOR UPDATE SKIP LOCKED) d \
         LIMIT (SELECT least(room, retries) FROM asked)), \
     first AS MATERIALIZED ( \
         SELECT d.place FROM share s CROSS JOIN ready r CROSS JOIN LATERAL ( \
             SELECT ctid AS place FROM due WHERE endpoint_id = r.id AND NOT retry AND due_at <= now() ORDER BY due_at \
             LIMIT least(r.room - (SELECT count(*) FROM again a WHERE a.endpoint_id = r.id), s.rows) \
             FOR UPDATE SKIP LOCKED) d \
         LIMIT (SELECT room FROM asked) - (SELECT count(*) FROM again)), \
     leased AS ( \
         UPDATE due SET lease = nextval('leases'), \
             due_at = now() + (SELECT lease_us FROM asked) * interval '1 microsecond' \
         WHERE ctid = ANY(ARRAY(SELECT place FROM again UNION ALL SELECT place FROM first)) \
         RETURNING event_id, endpoint_id, lease, attempts) \
     SELECT l.event_id, l.endpoint_id, l.lease, l.attempts, d.webhook_id, b.body, e.url, e.secrets, e.secret_ends, \
         e.access, e.schedule_s \
     FROM leased l JOIN deliveries d ON d.event_id = l.event_id AND d.endpoint_id = l.endpoint_id \
     JOIN bodies b ON b.event_id = l.event_id AND b.format = d.format JOIN endpoints e ON e.id = l.endpoint_id"
}

/// Leases what is due of enabled endpoints, never more than there is room for. An empty answer to a request with room means
/// that nothing is due, that the room left is for retries only or not for them, or that others are leasing it.
///
/// # Errors
/// As any query.
pub async fn lease(conn: &AsyncPgConnection, request: &LeaseRequest<'_>) -> QueryResult<Vec<Leased>> {
    type Ends = Vec<Option<DateTime<Utc>>>;
    type Row = (Uuid, String, i64, i32, String, Vec<u8>, String, Vec<Vec<u8>>, Ends, Option<Vec<u8>>, Option<Vec<i32>>);
    let statement = Lease {
        room: count(request.room.all),
        retry_room: count(request.room.retries),
        each: count(request.per_endpoint.all),
        each_retries: count(request.per_endpoint.retries),
        lease_us: microseconds(request.lease),
        busy: request.busy.iter().map(|(id, _)| id.as_str()).collect(),
        busy_rooms: request.busy.iter().map(|(_, room)| count(room.all)).collect(),
        busy_retries: request.busy.iter().map(|(_, room)| count(room.retries)).collect(),
        lifetime: std::marker::PhantomData,
    };
    let rows: Vec<Row> = statement.load(&mut &*conn).await?;
    let mut targets: HashMap<String, (EndpointId, Arc<Target>)> = HashMap::new();
    let read = |row: Row| {
        let (event_id, id, lease, attempts, webhook_id, body, url, secrets, secret_ends, access, schedule_s) = row;
        let (endpoint_id, target) = match targets.get(&id) {
            Some(known) => known.clone(),
            None => {
                let endpoint = id.parse().map_err(|error: IdError| QueryError::DeserializationError(error.into()))?;
                let known = (endpoint, Arc::new(Target { url, secrets, secret_ends, access, schedule_s }));
                targets.entry(id).or_insert(known).clone()
            }
        };
        let (attempts, body) = (attempts.unsigned_abs(), Bytes::from(body));
        Ok(Leased { event_id, endpoint_id, lease, attempts, webhook_id, body, target })
    };
    rows.into_iter().map(read).collect()
}

statement! {
    NextLease {} -> BigInt,
    "SELECT nextval('leases')"
}

/// The number of a new lease, for deliveries that are leased as they are committed ([`crate::deliveries::owe`]). Several may
/// share it: it is only ever compared for one delivery.
///
/// # Errors
/// As any query.
pub async fn next_lease(conn: &AsyncPgConnection) -> QueryResult<i64> {
    NextLease { lifetime: std::marker::PhantomData }.get_result(&mut &*conn).await
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

statement! {
    NextDue {} -> Nullable<BigInt>,
    "WITH RECURSIVE owing (id) AS ( \
         (SELECT endpoint_id FROM due ORDER BY endpoint_id LIMIT 1) \
         UNION ALL \
         SELECT (SELECT d.endpoint_id FROM due d WHERE d.endpoint_id > o.id ORDER BY d.endpoint_id LIMIT 1) \
         FROM owing o WHERE o.id IS NOT NULL), \
     next AS (SELECT least( \
             (SELECT due_at FROM due WHERE endpoint_id = e.id AND NOT retry AND due_at > now() ORDER BY due_at LIMIT 1), \
             (SELECT due_at FROM due WHERE endpoint_id = e.id AND retry AND due_at > now() ORDER BY due_at LIMIT 1)) AS at \
         FROM owing o JOIN endpoints e ON e.id = o.id WHERE e.enabled) \
     SELECT (extract(epoch FROM min(at) - now()) * 1000000)::bigint FROM next"
}

/// How long until something more falls due, by Postgres's clock; `None` when nothing will. What is due already does not
/// count: the caller has just leased it, or somebody else has, or there is no room for it.
///
/// # Errors
/// As any query.
pub async fn next_due(conn: &AsyncPgConnection) -> QueryResult<Option<Duration>> {
    let microseconds: Option<i64> = NextDue { lifetime: std::marker::PhantomData }.get_result(&mut &*conn).await?;
    Ok(microseconds.map(|microseconds| Duration::from_micros(microseconds.unsigned_abs())))
}

statement! {
    Release {
        events: Vec<Uuid> => Array<SqlUuid>,
        endpoints: Vec<&'a str> => Array<Text>,
        leases: Vec<i64> => Array<BigInt>,
    } -> (),
    "UPDATE due d SET lease = NULL, due_at = now() FROM unnest(?, ?, ?) AS r (event_id, endpoint_id, lease) \
     WHERE d.event_id = r.event_id AND d.endpoint_id = r.endpoint_id AND d.lease = r.lease"
}

/// Gives back leases under which nothing was sent: due at once, for whoever comes first.
///
/// # Errors
/// As any query.
pub async fn release(conn: &AsyncPgConnection, unused: &[Leased]) -> QueryResult<()> {
    let statement = Release {
        events: unused.iter().map(|leased| leased.event_id).collect(),
        endpoints: unused.iter().map(|leased| leased.endpoint_id.as_str()).collect(),
        leases: unused.iter().map(|leased| leased.lease).collect(),
        lifetime: std::marker::PhantomData,
    };
    statement.execute(&mut &*conn).await.map(drop)
}
