//! `attempts`: HTTP requests made for deliveries, and what came of each.
//!
//! Recording is where a delivery's state moves (drawn in `deliveries.rs` and `due.rs`), by three rules: an attempt that is
//! already here changes nothing, a success always counts, a failure counts only under the lease that is still the current one.
//! What was delivered, and is only sent again, is delivered as before where that fails to the end.
//!
//! Rows of `due` are found by their events, whatever the planner thinks of it. Where Postgres was told in a quiet moment that
//! `due` is empty, all plans are equally good to it, and it would compare each attempt with all that is due: seconds for a few
//! hundred. `ANY(ARRAY(…))` bounds the scan whichever table is read first, `endpoint_id || ''` is what no index has, and the
//! index by endpoints, which has the event second, serves only who says its condition. New successes are looked up in a table
//! of what is new; where anything else is among them, what is new and what is due are joined still: each with each, of a batch.

use std::{borrow::Borrow, collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use diesel::{
    result::Error,
    sql_types::{Array, BigInt, Binary, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;
use vocabulary::EndpointId;

use crate::{QueryResult, due::microseconds, error::stale_by, statement::nullable};

/// What becomes of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The customer has it.
    Delivered,
    /// Another attempt is owed.
    Retry {
        /// In how long, by Postgres's clock.
        after: Duration,
    },
    /// The schedule has ended: given up, visibly.
    Abandoned,
    /// The endpoint gives up on such an answer: likewise, and on purpose.
    GivenUp,
}

impl Next {
    fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry { .. } => "retry",
            Self::Abandoned | Self::GivenUp => "abandoned",
        }
    }

    fn pause(self) -> Duration {
        match self {
            Self::Retry { after } => after,
            Self::Delivered | Self::Abandoned | Self::GivenUp => Duration::ZERO,
        }
    }
}

/// An attempt and what came of it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// What is owed.
    pub event_id: Uuid,
    /// To whom.
    pub endpoint_id: EndpointId,
    /// The lease that it was made under.
    pub lease: i64,
    /// The id as sent.
    pub webhook_id: String,
    /// SHA-256 of the body as sent.
    pub body_hash: [u8; 32],
    /// `delivered`, or the cause of failure in one of a few words.
    pub outcome: &'static str,
    /// What the customer answered, where it did.
    pub http_status: Option<u16>,
    /// More about a failure, for the operator. Without NUL.
    pub detail: Option<String>,
    /// The first bytes of the answer's body.
    pub response_head: Option<Vec<u8>>,
    /// By the dispatcher's clock, as in `webhook-timestamp`.
    pub started_at: DateTime<Utc>,
    /// From before the connection to the end of the answer.
    pub duration: Duration,
    /// Where it went.
    pub split: Split,
    /// What becomes of the delivery.
    pub next: Next,
    /// The lane whose next delivery is due once this one has ended.
    pub lane: Option<String>,
}

/// Where the time of an attempt went; what is left of it is the answer's body. What it did not come to is `None`: a kept
/// connection is neither looked up nor made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Split {
    /// Asking for the name's addresses.
    pub dns: Option<Duration>,
    /// Connecting by TCP.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// From there to the head of the answer.
    pub first_byte: Option<Duration>,
}

/// The columns of a [`Split`], in microseconds, of many attempts.
struct Splits {
    dns: Vec<Option<i32>>,
    connect: Vec<Option<i32>>,
    tls: Vec<Option<i32>>,
    first_byte: Vec<Option<i32>>,
}

impl Splits {
    fn of<'a>(attempts: impl Iterator<Item = &'a Recorded> + Clone) -> Self {
        let microseconds = |part: Duration| part.as_micros().try_into().unwrap_or(i32::MAX);
        let column = |part: fn(&Split) -> Option<Duration>| {
            nullable(attempts.clone().map(|attempt| part(&attempt.split).map(microseconds)))
        };
        Self {
            dns: column(|split| split.dns),
            connect: column(|split| split.connect),
            tls: column(|split| split.tls),
            first_byte: column(|split| split.first_byte),
        }
    }
}

impl Recorded {
    fn status(&self) -> Option<i16> {
        self.http_status.map(u16::cast_signed)
    }

    /// Why it is given up on purpose, as the flag is called that says so of its endpoint.
    fn reason(&self) -> Option<String> {
        self.http_status.filter(|_| self.next == Next::GivenUp).map(|status| format!("give-up-on {status}"))
    }
}

statement! {
    /// Everything follows from `new`: what an earlier call has recorded is not in it. Two attempts of one delivery in one
    /// call are told apart, and a success among them wins. Gives the deliveries that are abandoned by it. What is new and what is gone are grouped, not joined: Postgres
    /// cannot know how many there are, and would compare each with each.
    Record {
        events: Vec<Uuid> => Array<SqlUuid>,
        endpoints: Vec<&'a str> => Array<Text>,
        leases: Vec<i64> => Array<BigInt>,
        webhook_ids: Vec<&'a str> => Array<Text>,
        hashes: Vec<&'a [u8]> => Array<Binary>,
        outcomes: Vec<&'a str> => Array<Text>,
        statuses: Vec<Option<i16>> => Array<Nullable<SmallInt>>,
        details: Vec<Option<&'a str>> => Array<Nullable<Text>>,
        heads: Vec<Option<&'a [u8]>> => Array<Nullable<Binary>>,
        started: Vec<DateTime<Utc>> => Array<Timestamptz>,
        durations: Vec<i64> => Array<BigInt>,
        dns: Vec<Option<i32>> => Array<Nullable<Integer>>,
        connects: Vec<Option<i32>> => Array<Nullable<Integer>>,
        tls: Vec<Option<i32>> => Array<Nullable<Integer>>,
        first_bytes: Vec<Option<i32>> => Array<Nullable<Integer>>,
        nexts: Vec<&'a str> => Array<Text>,
        reasons: Vec<Option<String>> => Array<Nullable<Text>>,
        pauses: Vec<i64> => Array<BigInt>,
    } -> (SqlUuid, Text),
    "WITH given AS MATERIALIZED (SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) AS g (event_id, endpoint_id, \
         lease, webhook_id, body_hash, outcome, http_status, detail, response_head, started_at, duration_us, \
         dns_us, connect_us, tls_us, first_byte_us, next, reason, pause_us)), \
     inserted AS (INSERT INTO attempts (event_id, endpoint_id, lease, webhook_id, body_hash, outcome, http_status, detail, \
         response_head, started_at, duration_us, dns_us, connect_us, tls_us, first_byte_us) \
         SELECT event_id, endpoint_id, lease, webhook_id, body_hash, outcome, http_status, detail, response_head, \
             started_at, duration_us, dns_us, connect_us, tls_us, first_byte_us FROM given ORDER BY event_id, endpoint_id, lease \
         ON CONFLICT DO NOTHING RETURNING event_id, endpoint_id, lease), \
     new AS MATERIALIZED (SELECT g.event_id, g.endpoint_id, g.lease, g.next, g.reason, g.pause_us, \
             bool_or(g.next = 'delivered') OVER (PARTITION BY g.event_id, g.endpoint_id) AS delivered \
         FROM given g JOIN inserted USING (event_id, endpoint_id, lease)), \
     gone AS (DELETE FROM due d USING new n WHERE d.event_id = n.event_id AND d.endpoint_id || '' = n.endpoint_id \
         AND d.event_id = ANY(ARRAY(SELECT event_id FROM new)) \
         AND (n.delivered OR n.next = 'abandoned' AND d.lease = n.lease) \
         RETURNING n.event_id, n.endpoint_id, n.reason, d.delivered_at), \
     later AS (UPDATE due d SET lease = NULL, due_at = now() + n.pause_us * interval '1 microsecond', \
             attempts = d.attempts + 1 \
         FROM new n WHERE d.event_id = n.event_id AND d.endpoint_id || '' = n.endpoint_id \
         AND d.event_id = ANY(ARRAY(SELECT event_id FROM new)) \
         AND d.lease = n.lease AND n.next = 'retry' AND NOT n.delivered), \
     ruled AS (SELECT event_id, endpoint_id, count(lease) AS requests, bool_or(delivered) AS delivered, bool_or(gone) AS gone, \
             max(reason) AS reason, max(delivered_at) AS delivered_at \
         FROM (SELECT event_id, endpoint_id, lease, delivered, false AS gone, NULL AS reason, NULL AS delivered_at FROM new \
             UNION ALL SELECT event_id, endpoint_id, NULL, false, true, reason, delivered_at FROM gone) r GROUP BY event_id, endpoint_id), \
     moved AS (UPDATE deliveries d SET attempts = d.attempts + r.requests, \
         state = CASE WHEN r.delivered OR r.delivered_at IS NOT NULL THEN 'delivered' WHEN r.gone THEN 'abandoned' ELSE d.state END, \
         abandoned_reason = CASE WHEN r.gone AND NOT r.delivered AND r.delivered_at IS NULL THEN r.reason ELSE d.abandoned_reason END, \
         finished_at = CASE WHEN r.delivered AND d.state = 'delivered' THEN d.finished_at \
             WHEN r.delivered THEN now() WHEN r.gone THEN coalesce(r.delivered_at, now()) ELSE d.finished_at END \
     FROM ruled r WHERE d.event_id = r.event_id AND d.endpoint_id = r.endpoint_id \
     RETURNING d.event_id, d.endpoint_id, r.gone AND d.state = 'abandoned' AS abandoned) \
     SELECT event_id, endpoint_id FROM moved WHERE abandoned"
}

statement! {
    /// What [`Record`] comes to where each attempt is a success, and none is here already: most of the time. The counts make
    /// Postgres take the locks in the same order. What is gone is found by its events, and then looked up in a table of what
    /// is new (`IS TRUE` keeps the two from being joined): a join is planned for as many rows as Postgres believes `due` to have.
    RecordNewSuccesses {
        events: Vec<Uuid> => Array<SqlUuid>,
        endpoints: Vec<&'a str> => Array<Text>,
        leases: Vec<i64> => Array<BigInt>,
        webhook_ids: Vec<&'a str> => Array<Text>,
        hashes: Vec<&'a [u8]> => Array<Binary>,
        statuses: Vec<Option<i16>> => Array<Nullable<SmallInt>>,
        heads: Vec<Option<&'a [u8]>> => Array<Nullable<Binary>>,
        started: Vec<DateTime<Utc>> => Array<Timestamptz>,
        durations: Vec<i64> => Array<BigInt>,
        dns: Vec<Option<i32>> => Array<Nullable<Integer>>,
        connects: Vec<Option<i32>> => Array<Nullable<Integer>>,
        tls: Vec<Option<i32>> => Array<Nullable<Integer>>,
        first_bytes: Vec<Option<i32>> => Array<Nullable<Integer>>,
    } -> (),
    "WITH new AS MATERIALIZED (SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) AS g (event_id, endpoint_id, lease, \
         webhook_id, body_hash, http_status, response_head, started_at, duration_us, dns_us, connect_us, tls_us, \
         first_byte_us)), \
     inserted AS (INSERT INTO attempts (event_id, endpoint_id, lease, webhook_id, body_hash, outcome, http_status, \
         response_head, started_at, duration_us, dns_us, connect_us, tls_us, first_byte_us) \
         SELECT event_id, endpoint_id, lease, webhook_id, body_hash, 'delivered', http_status, response_head, started_at, \
             duration_us, dns_us, connect_us, tls_us, first_byte_us FROM new RETURNING 1), \
     gone AS (DELETE FROM due WHERE event_id = ANY(ARRAY(SELECT event_id FROM new)) \
         AND ((event_id, endpoint_id) IN (SELECT event_id, endpoint_id FROM new)) IS TRUE \
         AND (SELECT count(*) FROM inserted) >= 0 RETURNING 1) \
     UPDATE deliveries d SET attempts = d.attempts + 1, state = 'delivered', \
         finished_at = CASE WHEN d.state = 'delivered' THEN d.finished_at ELSE now() END \
     FROM new n WHERE d.event_id = n.event_id AND d.endpoint_id = n.endpoint_id AND (SELECT count(*) FROM gone) >= 0"
}

/// Records attempts and moves their deliveries, in one statement and so in one transaction. Doing it twice is doing it once.
/// Where some have lanes, those must be locked, and promoted afterwards ([`crate::lanes`]). Gives those attempts under which
/// deliveries are abandoned by this.
///
/// # Errors
/// As any query.
pub async fn record<'a>(
    conn: &AsyncPgConnection,
    attempts: &'a [impl Borrow<Recorded>],
) -> QueryResult<Vec<&'a Recorded>> {
    let attempts: Vec<&Recorded> = attempts.iter().map(Borrow::borrow).collect();
    if are_successes(&attempts) {
        match record_new_successes(conn, attempts.clone()).await {
            Err(Error::NotFound) => {}
            recorded => return recorded.map(|()| Vec::new()),
        }
    }
    let abandoned = record_any(conn, &attempts).await?;
    Ok(abandoned.iter().filter_map(|delivery| last_of(delivery, &attempts)).collect())
}

/// Of several attempts that give a delivery up, that of the current lease: numbers of leases only grow.
fn last_of<'a>((event_id, endpoint_id): &(Uuid, String), attempts: &[&'a Recorded]) -> Option<&'a Recorded> {
    let gives_up = |one: &&&Recorded| {
        matches!(one.next, Next::Abandoned | Next::GivenUp)
            && one.event_id == *event_id
            && one.endpoint_id.as_str() == endpoint_id
    };
    attempts.iter().filter(gives_up).max_by_key(|one| one.lease).copied()
}

/// Whether nothing but successes is among them, each of another delivery. What has a lane is recorded in a transaction, which
/// would not survive that one of them is here already.
fn are_successes(attempts: &[&Recorded]) -> bool {
    let deliveries: HashSet<_> = attempts.iter().map(|attempt| (attempt.event_id, &attempt.endpoint_id)).collect();
    deliveries.len() == attempts.len()
        && attempts.iter().all(|attempt| attempt.next == Next::Delivered && attempt.lane.is_none())
}

/// Refused as a whole, as `NotFound`, where one is here already.
async fn record_new_successes(conn: &AsyncPgConnection, mut attempts: Vec<&Recorded>) -> QueryResult<()> {
    // In the order in which `deliveries::make_due` locks them, and whoever else records.
    attempts.sort_by_key(|attempt| (attempt.event_id, attempt.endpoint_id.as_str()));
    let splits = Splits::of(attempts.iter().copied());
    let statement = RecordNewSuccesses {
        events: attempts.iter().map(|attempt| attempt.event_id).collect(),
        endpoints: attempts.iter().map(|attempt| attempt.endpoint_id.as_str()).collect(),
        leases: attempts.iter().map(|attempt| attempt.lease).collect(),
        webhook_ids: attempts.iter().map(|attempt| attempt.webhook_id.as_str()).collect(),
        hashes: attempts.iter().map(|attempt| attempt.body_hash.as_slice()).collect(),
        statuses: nullable(attempts.iter().map(|attempt| attempt.status())),
        heads: nullable(attempts.iter().map(|attempt| attempt.response_head.as_deref())),
        started: attempts.iter().map(|attempt| attempt.started_at).collect(),
        durations: attempts.iter().map(|attempt| microseconds(attempt.duration)).collect(),
        dns: splits.dns,
        connects: splits.connect,
        tls: splits.tls,
        first_bytes: splits.first_byte,
        lifetime: std::marker::PhantomData,
    };
    statement.execute(&mut &*conn).await.map(drop).map_err(stale_by("attempts_pkey"))
}

async fn record_any(conn: &AsyncPgConnection, attempts: &[&Recorded]) -> QueryResult<Vec<(Uuid, String)>> {
    let splits = Splits::of(attempts.iter().copied());
    let statement = Record {
        events: attempts.iter().map(|attempt| attempt.event_id).collect(),
        endpoints: attempts.iter().map(|attempt| attempt.endpoint_id.as_str()).collect(),
        leases: attempts.iter().map(|attempt| attempt.lease).collect(),
        webhook_ids: attempts.iter().map(|attempt| attempt.webhook_id.as_str()).collect(),
        hashes: attempts.iter().map(|attempt| attempt.body_hash.as_slice()).collect(),
        outcomes: attempts.iter().map(|attempt| attempt.outcome).collect(),
        statuses: nullable(attempts.iter().map(|attempt| attempt.status())),
        details: nullable(attempts.iter().map(|attempt| attempt.detail.as_deref())),
        heads: nullable(attempts.iter().map(|attempt| attempt.response_head.as_deref())),
        started: attempts.iter().map(|attempt| attempt.started_at).collect(),
        durations: attempts.iter().map(|attempt| microseconds(attempt.duration)).collect(),
        dns: splits.dns,
        connects: splits.connect,
        tls: splits.tls,
        first_bytes: splits.first_byte,
        nexts: attempts.iter().map(|attempt| attempt.next.name()).collect(),
        reasons: nullable(attempts.iter().map(|attempt| attempt.reason())),
        pauses: attempts.iter().map(|attempt| microseconds(attempt.next.pause())).collect(),
        lifetime: std::marker::PhantomData,
    };
    statement.load(&mut &*conn).await
}
