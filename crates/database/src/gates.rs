//! `gates`: what stands between the fleet and an endpoint that fails, or that has limits of its own.
//!
//! ```text
//!            fails                 fails OPENS_AFTER times in a row
//!   no gate ───────▶ counted ─────────────────────────────────────▶ open ◀───────────┐
//!      ▲                │                                         (rests)            │ fails: rests for
//!      │     succeeds   │                                            │ rest is over  │ twice as long
//!      ├────────────────┘                                            ▼               │
//!      └──────────────────────────succeeds────────────────────── half open ──────────┘
//!                                                            (one lease: a probe)
//! ```
//! The lease reads it ([`crate::due::lease`]), so all dispatchers see the same. Healthy endpoints without limits have no row
//! here, and cost nothing. A circuit uses up no attempts: what waits behind it is tried later, not less often.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Bool, Integer, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use vocabulary::{EndpointId, IdError};

use crate::{QueryError, QueryResult, due::microseconds, schema};

/// Failures in a row after which a circuit opens: more than one burst of bad luck, fewer than one tick of a busy endpoint.
pub const OPENS_AFTER: i32 = 10;
/// How long a circuit rests before the first probe; twice as long after each that fails.
pub const FIRST_REST: Duration = Duration::from_secs(5);
/// So long at most: within this time after it has recovered an endpoint is sent to again.
pub const LONGEST_REST: Duration = Duration::from_secs(60);

/// What some attempts have shown of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Which one.
    pub endpoint_id: EndpointId,
    /// Whether one of them succeeded.
    pub succeeded: bool,
    /// How many failed.
    pub failures: i32,
    /// For how long it asked to be left alone; zero if it did not.
    pub rest: Duration,
}

/// An endpoint that is to be left alone now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resting {
    /// Which one.
    pub endpoint_id: EndpointId,
    /// For how long it has done nothing but fail.
    pub failing_for: Duration,
}

statement! {
    /// A success closes the circuit, but does not shorten a pause that was asked for. Rows are locked in the order of their
    /// endpoints.
    Note {
        endpoints: Vec<&'a str> => Array<Text>,
        succeeded: Vec<bool> => Array<Bool>,
        failures: Vec<i32> => Array<Integer>,
        rests: Vec<i64> => Array<BigInt>,
        opens_after: i32 => Integer,
        first_rest: i64 => BigInt,
        longest_rest: i64 => BigInt,
    } -> (Text, BigInt),
    "WITH shown AS MATERIALIZED (SELECT * FROM unnest(?, ?, ?, ?) AS s (endpoint_id, succeeded, failures, rest_us)), \
     bounds (opens_after, first_us, longest_us) AS (SELECT ?, ?, ?), \
     locked AS MATERIALIZED (SELECT g.* FROM gates g JOIN shown s USING (endpoint_id) ORDER BY g.endpoint_id FOR UPDATE OF g), \
     moved AS MATERIALIZED (SELECT s.endpoint_id, \
             CASE WHEN s.succeeded THEN 0 ELSE coalesce(l.failures, 0) + s.failures END AS failures, \
             CASE WHEN s.succeeded THEN NULL ELSE coalesce(l.failing_since, now()) END AS failing_since, \
             NOT s.succeeded AND coalesce(l.failures, 0) + s.failures >= b.opens_after AS is_open, \
             CASE WHEN s.succeeded THEN 0 WHEN coalesce(l.is_probed, false) THEN l.openings + 1 \
                 ELSE coalesce(l.openings, 0) END AS openings, \
             coalesce(l.is_open, false) AS was_open, coalesce(l.is_probed, false) AS was_probed, \
             greatest(CASE WHEN s.succeeded AND coalesce(l.is_open, false) THEN 'epoch' \
                     WHEN coalesce(l.is_probed, false) THEN now() ELSE coalesce(l.rests_until, 'epoch') END, \
                 CASE WHEN s.rest_us > 0 THEN now() + s.rest_us * interval '1 microsecond' ELSE 'epoch' END) AS rests_until, \
             b.first_us, b.longest_us \
         FROM shown s CROSS JOIN bounds b LEFT JOIN locked l USING (endpoint_id)), \
     timed AS MATERIALIZED (SELECT endpoint_id, failures, failing_since, is_open, openings, \
             CASE WHEN is_open AND (NOT was_open OR was_probed) THEN greatest(rests_until, \
                 now() + least(longest_us, first_us * 2.0 ^ least(openings, 20)) * interval '1 microsecond') \
             ELSE rests_until END AS rests_until FROM moved), \
     gone AS (DELETE FROM gates g USING timed t JOIN endpoints e ON e.id = t.endpoint_id \
         WHERE g.endpoint_id = t.endpoint_id AND t.failures = 0 AND t.rests_until <= now() \
         AND e.max_in_flight IS NULL AND e.max_per_second IS NULL RETURNING g.endpoint_id), \
     put AS (INSERT INTO gates AS g (endpoint_id, failures, failing_since, is_open, openings, rests_until) \
         SELECT endpoint_id, failures, failing_since, is_open, openings, rests_until FROM timed t \
         WHERE (t.failures > 0 OR t.rests_until > now() OR EXISTS (SELECT FROM locked l WHERE l.endpoint_id = t.endpoint_id)) \
         AND NOT EXISTS (SELECT FROM gone WHERE gone.endpoint_id = t.endpoint_id) ORDER BY endpoint_id \
         ON CONFLICT (endpoint_id) DO UPDATE SET failures = excluded.failures, failing_since = excluded.failing_since, \
             is_open = excluded.is_open, is_probed = false, openings = excluded.openings, \
             rests_until = excluded.rests_until) \
     SELECT endpoint_id, (extract(epoch FROM now() - coalesce(failing_since, now())) * 1000000)::bigint FROM timed \
     WHERE rests_until > now()"
}

/// Notes what attempts have shown, each endpoint once. Gives those that are to be left alone now.
///
/// # Errors
/// As any query.
pub async fn note(conn: &AsyncPgConnection, shown: &[Shown]) -> QueryResult<Vec<Resting>> {
    let statement = Note {
        endpoints: shown.iter().map(|shown| shown.endpoint_id.as_str()).collect(),
        succeeded: shown.iter().map(|shown| shown.succeeded).collect(),
        failures: shown.iter().map(|shown| shown.failures).collect(),
        rests: shown.iter().map(|shown| microseconds(shown.rest)).collect(),
        opens_after: OPENS_AFTER,
        first_rest: microseconds(FIRST_REST),
        longest_rest: microseconds(LONGEST_REST),
        lifetime: std::marker::PhantomData,
    };
    let rows: Vec<(String, i64)> = statement.load(&mut &*conn).await?;
    let read = |(id, failing_us): (String, i64)| {
        let endpoint_id = id.parse().map_err(|error: IdError| QueryError::DeserializationError(error.into()))?;
        Ok(Resting { endpoint_id, failing_for: Duration::from_micros(failing_us.unsigned_abs()) })
    };
    rows.into_iter().map(read).collect()
}

/// Forgets what an endpoint has shown, so that it is sent to at once.
///
/// # Errors
/// As any query.
pub async fn lift(conn: &AsyncPgConnection, endpoint_id: &EndpointId) -> QueryResult<()> {
    let statement = Lift { endpoint_id: endpoint_id.as_str(), lifetime: std::marker::PhantomData };
    statement.execute(&mut &*conn).await.map(drop)
}

statement! {
    Lift { endpoint_id: &'a str => Text } -> (),
    "UPDATE gates SET failures = 0, failing_since = NULL, is_open = false, is_probed = false, openings = 0, \
         rests_until = 'epoch' WHERE endpoint_id = ?"
}

/// A gate as people look at it.
#[derive(Debug, Clone, Serialize, Queryable, Selectable)]
#[diesel(table_name = schema::gates)]
pub struct GateRow {
    /// Whether it failed too often in a row: then one delivery at a time is sent, as a probe, until one succeeds.
    pub is_open: bool,
    /// Nothing is sent before this.
    pub rests_until: DateTime<Utc>,
    /// Attempts that failed since the last that succeeded.
    pub failures: i32,
    /// When the first of them was recorded.
    pub failing_since: Option<DateTime<Utc>>,
}

/// The gate of an endpoint, if it has one.
///
/// # Errors
/// As any query.
pub async fn of(conn: &AsyncPgConnection, endpoint_id: &EndpointId) -> QueryResult<Option<GateRow>> {
    let gate = schema::gates::table.find(endpoint_id.as_str()).select(GateRow::as_select());
    gate.first(&mut &*conn).await.optional()
}
