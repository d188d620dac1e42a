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

use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;
use vocabulary::{EndpointId, IdError};

use crate::{
    QueryError, QueryResult,
    endpoints::{Target, TargetColumns},
};

mod catch_up;
mod leased;
mod release;

pub(crate) use catch_up::catch_up_first;
pub use catch_up::{Owed, catch_up, owed_to};
pub use leased::{Body, Gate, LARGEST_BROUGHT, Leased};
pub use release::release;

/// How many deliveries may be taken, or how many more fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Of all kinds.
    pub all: usize,
    /// Retries among them. Less than all of them, so that a backlog of retries never starves first attempts.
    pub retries: usize,
}

impl Room {
    /// As much of it as fits into so many.
    pub fn within(self, most: usize) -> Self {
        Self { all: self.all.min(most), retries: self.retries.min(most) }
    }
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
    /// How many of them for an account that is not in `busy_accounts`.
    pub per_account: Room,
    /// The accounts that it is sending for, with what each can still have.
    pub busy_accounts: &'a [(String, Room)],
    /// How long it needs them for, by Postgres's clock.
    pub lease: Duration,
}

statement! {
    /// Fair over endpoints: whoever has least in flight here comes first, equals in random order, and each gets the same share
    /// of what was asked for; what one leaves, the next call finds. `placed` shares out what an account may have likewise among
    /// its endpoints, one each where there are more of them than that; who owes retries alone, and gets none, has no part in it.
    ///
    /// `owing` hops through the index from endpoint to endpoint, so that a backlog of one costs no more than a single row.
    /// Rows are updated where they were found (`ctid`), because a join on the key may be planned as a scan of the table.
    ///
    /// `held` locks the gates of those that have one; what somebody else has locked, or has changed since this statement
    /// began (`turn`), is left to the next call: what others have in flight is counted as of the beginning, as far as their
    /// leases end within ten minutes, or within one like this. Of what a gate lets pass retries get half at most, while a first attempt is due; and a
    /// probe is a first attempt then: what has failed before may fail for reasons of its own.
    ///
    /// `octet_length` does not read a body that Postgres keeps apart from its row.
    Lease {
        room: i64 => BigInt,
        retry_room: i64 => BigInt,
        each: i64 => BigInt,
        each_retries: i64 => BigInt,
        lease_us: i64 => BigInt,
        busy: Vec<&'a str> => Array<Text>,
        busy_rooms: Vec<i64> => Array<BigInt>,
        busy_retries: Vec<i64> => Array<BigInt>,
        own: i64 => BigInt,
        own_retries: i64 => BigInt,
        accounts: Vec<&'a str> => Array<Text>,
        account_rooms: Vec<i64> => Array<BigInt>,
        account_retries: Vec<i64> => Array<BigInt>,
        largest_brought: i32 => Integer,
    } -> (
        SqlUuid, Text, BigInt, Integer, Bool, Text, Nullable<Binary>, Integer, Text, TargetColumns, Nullable<Bool>, Nullable<Bool>,
        Nullable<Text>, BigInt
    ),
    "WITH RECURSIVE asked (room, retries, each, each_retries, lease_us) AS (SELECT ?, ?, ?, ?, ?), \
     busy (id, room, retries) AS (SELECT * FROM unnest(?, ?, ?)), \
     own (room, retries) AS (SELECT ?, ?), \
     accounts_busy (id, room, retries) AS (SELECT * FROM unnest(?, ?, ?)), \
     owing (id) AS ( \
         (SELECT endpoint_id FROM due ORDER BY endpoint_id LIMIT 1) \
         UNION ALL \
         SELECT (SELECT d.endpoint_id FROM due d WHERE d.endpoint_id > o.id ORDER BY d.endpoint_id LIMIT 1) \
         FROM owing o WHERE o.id IS NOT NULL), \
     willing AS MATERIALIZED ( \
         SELECT e.id, coalesce(b.room, a.each) AS room, coalesce(b.retries, a.each_retries) AS retries, e.account_id, \
             coalesce(c.room, own.room) AS own_room, coalesce(c.retries, own.retries) AS own_retries, \
             e.max_in_flight, e.max_per_second, a.lease_us * interval '1 microsecond' AS lease, \
             coalesce((SELECT due_at FROM due WHERE endpoint_id = e.id AND NOT retry ORDER BY due_at LIMIT 1) <= now(), false) \
                 AS owes_first \
         FROM asked a CROSS JOIN own CROSS JOIN owing o JOIN endpoints e ON e.id = o.id LEFT JOIN busy b ON b.id = e.id \
             LEFT JOIN accounts_busy c ON c.id = e.account_id \
         WHERE e.enabled AND least(coalesce(b.room, a.each), coalesce(c.room, own.room)) > 0 AND ( \
             (SELECT due_at FROM due WHERE endpoint_id = e.id AND NOT retry ORDER BY due_at LIMIT 1) <= now() OR \
             (SELECT due_at FROM due WHERE endpoint_id = e.id AND retry ORDER BY due_at LIMIT 1) <= now())), \
     held AS MATERIALIZED ( \
         SELECT g.endpoint_id AS id, g.is_open, g.failures > 0 AS has_failed, \
             CASE WHEN w.max_per_second IS NOT NULL THEN least(greatest(1, w.max_per_second), \
                 g.tokens + w.max_per_second * extract(epoch FROM now() - g.filled_at)::float8) END AS tokens \
         FROM willing w JOIN gates g ON g.endpoint_id = w.id WHERE greatest(g.asked_until, g.rests_until) <= now() \
         AND g.turn = (SELECT seen.turn FROM gates seen WHERE seen.endpoint_id = g.endpoint_id) \
         FOR UPDATE OF g SKIP LOCKED), \
     open AS MATERIALIZED ( \
         SELECT w.id, w.account_id, w.own_room, w.own_retries, w.retries, w.room AS idle, w.owes_first, h.is_open, h.has_failed, \
             least(w.room, CASE WHEN h.is_open THEN 1 END, floor(h.tokens)::bigint, \
                 w.max_in_flight - CASE WHEN w.max_in_flight IS NOT NULL THEN (SELECT count(*) FROM due d \
                     WHERE d.endpoint_id = w.id AND d.retry IN (false, true) AND d.lease IS NOT NULL \
                     AND d.due_at > now() AND d.due_at <= now() + greatest(w.lease, interval '10 minutes')) END) AS room \
         FROM willing w LEFT JOIN held h ON h.id = w.id \
         WHERE h.id IS NOT NULL OR NOT EXISTS (SELECT FROM gates g WHERE g.endpoint_id = w.id)), \
     ranked AS (SELECT *, row_number() OVER (PARTITION BY account_id ORDER BY idle DESC, random()) AS turn FROM open WHERE room > 0), \
     placed AS (SELECT *, count(*) OVER (PARTITION BY account_id) AS mates, \
             row_number() OVER (PARTITION BY account_id ORDER BY turn) AS place FROM ranked \
         WHERE owes_first OR (turn <= own_retries AND least(retries, (SELECT a.retries FROM asked a)) > 0)), \
     ready AS MATERIALIZED ( \
         SELECT id, room, least(retries, CASE WHEN NOT owes_first THEN room WHEN is_open THEN 0 ELSE (room + (random() < 0.5)::int) / 2 END) \
             AS retries, is_open, has_failed \
         FROM (SELECT id, idle, owes_first, is_open, has_failed, least(room, greatest(1, own_room / mates)) AS room, \
                 CASE WHEN turn <= own_retries THEN least(retries, greatest(1, own_retries / mates)) ELSE 0 END AS retries \
             FROM placed WHERE place <= own_room) p \
         ORDER BY idle DESC, random()), \
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
         RETURNING event_id, endpoint_id, lease, attempts, again, lane), \
     passed AS ( \
         UPDATE gates g SET turn = g.turn + 1, tokens = coalesce(h.tokens - t.taken, g.tokens), filled_at = now(), \
             is_probed = g.is_open, \
             rests_until = CASE WHEN g.is_open THEN now() + w.lease ELSE g.rests_until END \
         FROM held h JOIN willing w ON w.id = h.id \
         JOIN (SELECT endpoint_id, count(*) AS taken FROM leased GROUP BY 1) t ON t.endpoint_id = h.id \
         WHERE g.endpoint_id = h.id AND (g.is_open OR w.max_in_flight IS NOT NULL OR w.max_per_second IS NOT NULL)) \
     SELECT l.event_id, l.endpoint_id, l.lease, l.attempts, l.again, d.webhook_id, \
         CASE WHEN octet_length(b.body) <= ? THEN b.body END, octet_length(b.body), d.format, \
         e.account_id, e.url, e.secrets, e.secret_ends, e.access, e.schedule_s, e.give_up_on, e.revision, (SELECT allowed_private FROM accounts WHERE id = e.account_id), \
         (SELECT r.has_failed FROM ready r WHERE r.id = l.endpoint_id), \
         (SELECT r.is_open FROM ready r WHERE r.id = l.endpoint_id), l.lane, \
         (SELECT least(r.room, s.rows) FROM ready r CROSS JOIN share s WHERE r.id = l.endpoint_id) \
     FROM leased l JOIN deliveries d ON d.event_id = l.event_id AND d.endpoint_id = l.endpoint_id \
     JOIN bodies b ON b.event_id = l.event_id AND b.format = d.format JOIN endpoints e ON e.id = l.endpoint_id"
}

/// Leases what is due of enabled endpoints, never more than there is room for. An empty answer to a request with room means
/// that nothing is due, that the room left is for retries only or not for them, or that others are leasing it.
///
/// # Errors
/// As any query.
pub async fn lease(conn: &AsyncPgConnection, request: &LeaseRequest<'_>) -> QueryResult<Vec<Leased<Body>>> {
    let statement = Lease {
        room: count(request.room.all),
        retry_room: count(request.room.retries),
        each: count(request.per_endpoint.all),
        each_retries: count(request.per_endpoint.retries),
        lease_us: microseconds(request.lease),
        busy: request.busy.iter().map(|(id, _)| id.as_str()).collect(),
        busy_rooms: request.busy.iter().map(|(_, room)| count(room.all)).collect(),
        busy_retries: request.busy.iter().map(|(_, room)| count(room.retries)).collect(),
        own: count(request.per_account.all),
        own_retries: count(request.per_account.retries),
        accounts: request.busy_accounts.iter().map(|(id, _)| id.as_str()).collect(),
        account_rooms: request.busy_accounts.iter().map(|(_, room)| count(room.all)).collect(),
        account_retries: request.busy_accounts.iter().map(|(_, room)| count(room.retries)).collect(),
        largest_brought: LARGEST_BROUGHT,
        lifetime: std::marker::PhantomData,
    };
    let rows: Vec<Row> = statement.load(&mut &*conn).await?;
    let mut targets = HashMap::new();
    rows.into_iter().map(|row| read(row, &mut targets)).collect()
}

type Row = (
    Uuid,
    String,
    i64,
    i32,
    bool,
    String,
    Option<Vec<u8>>,
    i32,
    String,
    Target,
    Option<bool>,
    Option<bool>,
    Option<String>,
    i64,
);

/// Those of an endpoint share its target.
fn read(row: Row, targets: &mut HashMap<String, (EndpointId, Arc<Target>)>) -> QueryResult<Leased<Body>> {
    let (
        event_id,
        id,
        lease,
        attempts,
        again,
        webhook_id,
        body,
        bytes,
        format,
        target,
        has_failed,
        is_open,
        lane,
        part,
    ) = row;
    let (endpoint_id, target) = match targets.get(&id) {
        Some(known) => known.clone(),
        None => {
            let endpoint = id.parse().map_err(|error: IdError| QueryError::DeserializationError(error.into()))?;
            let known = (endpoint, Arc::new(target));
            targets.entry(id).or_insert(known).clone()
        }
    };
    let (attempts, left) = (attempts.unsigned_abs(), Body::Left { format, bytes: bytes.unsigned_abs() });
    let body = body.map_or(left, |body| Body::Brought(body.into()));
    let gate = has_failed.zip(is_open).map(|(has_failed, is_probe)| Gate { has_failed, is_probe });
    let part = usize::try_from(part).unwrap_or_default();
    Ok(Leased { event_id, endpoint_id, lease, attempts, again, webhook_id, body, target, gate, lane, part })
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
     next AS (SELECT greatest( \
             CASE WHEN g.tokens < 1 AND e.max_per_second IS NOT NULL \
                 THEN g.filled_at + (1 - g.tokens) / e.max_per_second * interval '1 second' END, \
             CASE WHEN greatest(g.asked_until, g.rests_until) > now() THEN greatest(g.asked_until, g.rests_until) ELSE least( \
                 (SELECT due_at FROM due WHERE endpoint_id = e.id AND NOT retry AND due_at > now() \
                     ORDER BY due_at LIMIT 1), \
                 (SELECT due_at FROM due WHERE endpoint_id = e.id AND retry AND due_at > now() \
                     ORDER BY due_at LIMIT 1)) END) AS at \
         FROM owing o JOIN endpoints e ON e.id = o.id LEFT JOIN gates g ON g.endpoint_id = e.id WHERE e.enabled) \
     SELECT (extract(epoch FROM min(at) - now()) * 1000000)::bigint FROM next WHERE at > now()"
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
