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

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

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

/// Of an endpoint with lanes: nothing has been taken for so long, and something failed for the first time. Then it is not one
/// lane that is stuck.
const UNMOVED: Duration = Duration::from_secs(60);

/// Failures further apart than this belong to two troubles: the longest pause of the default schedule, and as long again.
/// Who was sent nothing in between has not failed in between.
pub const QUIET: Duration = Duration::from_hours(48);

/// What some attempts have shown of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Which one.
    pub endpoint_id: EndpointId,
    /// Its revision when they were leased.
    pub revision: i64,
    /// Whether one of them succeeded.
    pub succeeded: bool,
    /// How many failed.
    pub failures: i32,
    /// How many others failed that had failed before and hold up their lanes: they count once nothing has been taken for a
    /// while.
    pub failed_again: i32,
    /// Whether the probe of its open circuit is one of them.
    pub probed: bool,
    /// For how long it asked to be left alone; zero if it did not.
    pub rest: Duration,
}

/// What became of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// It opened.
    Open,
    /// It closed.
    Closed,
}

/// How an endpoint stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which one.
    pub endpoint_id: EndpointId,
    /// Its revision.
    pub revision: i64,
    /// Whether it is to be left alone now.
    pub rests: bool,
    /// Whether its circuit has opened just now, or closed; `None` if neither.
    pub turned: Option<Turned>,
    /// For how long it has done nothing but fail.
    pub failing_for: Duration,
}

statement! {
    /// So that who notes the first failures beside somebody else finds a row to lock, and adds to what that one notes.
    Begin { endpoints: Vec<&'a str> => Array<Text>, revisions: Vec<i64> => Array<BigInt> } -> (),
    "INSERT INTO gates (endpoint_id) SELECT e.id FROM unnest(?, ?) AS b (endpoint_id, revision) \
         JOIN endpoints e ON e.id = b.endpoint_id AND e.revision = b.revision ORDER BY e.id ON CONFLICT DO NOTHING"
}

statement! {
    /// A success closes the circuit, but does not shorten a pause that was asked for. Only the probe's own failure is one of a
    /// probe: what was sent before the circuit opened fails for a while after it. What fails again in its lane begins no
    /// failing, and is part of one that has lasted: with a lane that is dead an endpoint is well, without one that moves it is
    /// not. Rows are locked in the order of their endpoints.
    ///
    /// What was leased before the endpoint was changed is left out: a person may have enabled or moved it since, and what is
    /// under way would undo that. Its row is held so that nobody does so meanwhile; one that is being changed just now is left
    /// out too, rather than waited for.
    Note {
        endpoints: Vec<&'a str> => Array<Text>,
        revisions: Vec<i64> => Array<BigInt>,
        succeeded: Vec<bool> => Array<Bool>,
        failures: Vec<i32> => Array<Integer>,
        failed_again: Vec<i32> => Array<Integer>,
        probed: Vec<bool> => Array<Bool>,
        rests: Vec<i64> => Array<BigInt>,
        unmoved: i64 => BigInt,
        opens_after: i32 => Integer,
        first_rest: i64 => BigInt,
        longest_rest: i64 => BigInt,
        quiet: i64 => BigInt,
    } -> (Text, BigInt, Bool, Bool, Bool, BigInt),
    "WITH given AS MATERIALIZED ( \
         SELECT s.* FROM unnest(?, ?, ?, ?, ?, ?, ?) AS s (endpoint_id, revision, succeeded, failures, failed_again, probed, rest_us) \
         JOIN endpoints e ON e.id = s.endpoint_id AND e.revision = s.revision ORDER BY e.id FOR SHARE OF e SKIP LOCKED), \
     bounds (unmoved_us, opens_after, first_us, longest_us, quiet_us) AS (SELECT ?, ?, ?, ?, ?), \
     locked AS MATERIALIZED (SELECT g.* FROM gates g JOIN given s USING (endpoint_id) ORDER BY g.endpoint_id FOR UPDATE OF g), \
     shown AS MATERIALIZED (SELECT s.endpoint_id, s.revision, s.succeeded, s.probed, s.rest_us, s.failures + CASE WHEN l.failures > 0 \
             AND l.failing_since < now() - b.unmoved_us * interval '1 microsecond' THEN s.failed_again ELSE 0 END AS failures \
         FROM given s JOIN locked l USING (endpoint_id) CROSS JOIN bounds b), \
     moved AS MATERIALIZED (SELECT l.endpoint_id, s.revision, s.probed, l.is_open AS was_open, l.rests_until, \
             CASE WHEN s.succeeded THEN 0 ELSE l.failures + s.failures END AS failures, \
             CASE WHEN s.succeeded OR l.failures + s.failures = 0 THEN NULL \
                 WHEN l.failed_at < now() - b.quiet_us * interval '1 microsecond' THEN now() \
                 ELSE coalesce(l.failing_since, now()) END AS failing_since, \
             CASE WHEN s.succeeded OR l.failures + s.failures = 0 THEN NULL ELSE now() END AS failed_at, \
             NOT s.succeeded AND l.failures + s.failures >= b.opens_after AS is_open, \
             l.is_probed AND NOT s.probed AND NOT s.succeeded AS is_probed, \
             CASE WHEN s.succeeded THEN 0 WHEN s.probed THEN l.openings + 1 ELSE l.openings END AS openings, \
             greatest(l.asked_until, now() + s.rest_us * interval '1 microsecond') AS asked_until \
         FROM locked l JOIN shown s USING (endpoint_id) CROSS JOIN bounds b), \
     timed AS MATERIALIZED (SELECT m.*, CASE WHEN NOT is_open THEN 'epoch' WHEN was_open AND NOT probed THEN rests_until \
             ELSE now() + least(longest_us, first_us * 2.0 ^ least(openings, 20)) * interval '1 microsecond' END AS until, \
             failures = 0 AND asked_until <= now() AND max_in_flight IS NULL AND max_per_second IS NULL AS is_idle \
         FROM moved m CROSS JOIN bounds JOIN endpoints e ON e.id = m.endpoint_id), \
     gone AS (DELETE FROM gates g USING timed t WHERE g.endpoint_id = t.endpoint_id AND t.is_idle), \
     kept AS (UPDATE gates g SET failures = t.failures, failing_since = t.failing_since, failed_at = t.failed_at, is_open = t.is_open, \
             is_probed = t.is_probed, openings = t.openings, asked_until = t.asked_until, rests_until = t.until \
         FROM timed t WHERE g.endpoint_id = t.endpoint_id AND NOT t.is_idle) \
     SELECT endpoint_id, timed.revision, greatest(until, asked_until) > now(), was_open, is_open, \
         (extract(epoch FROM now() - coalesce(failing_since, now())) * 1000000)::bigint FROM timed"
}

/// Notes what attempts have shown, each endpoint once for a revision; only what is of its present one counts. Gives what follows
/// for those that have a gate.
///
/// # Errors
/// As any query.
pub async fn note(conn: &AsyncPgConnection, shown: &[Shown]) -> QueryResult<Vec<Standing>> {
    let begun = shown.iter().filter(|shown| shown.failures > 0 || !shown.rest.is_zero());
    let (endpoints, revisions): (Vec<_>, _) = begun.map(|shown| (shown.endpoint_id.as_str(), shown.revision)).unzip();
    if !endpoints.is_empty() {
        let begin = Begin { endpoints, revisions, lifetime: std::marker::PhantomData };
        begin.execute(&mut &*conn).await?;
    }
    let statement = Note {
        endpoints: shown.iter().map(|shown| shown.endpoint_id.as_str()).collect(),
        revisions: shown.iter().map(|shown| shown.revision).collect(),
        succeeded: shown.iter().map(|shown| shown.succeeded).collect(),
        failures: shown.iter().map(|shown| shown.failures).collect(),
        failed_again: shown.iter().map(|shown| shown.failed_again).collect(),
        probed: shown.iter().map(|shown| shown.probed).collect(),
        rests: shown.iter().map(|shown| microseconds(shown.rest)).collect(),
        unmoved: microseconds(UNMOVED),
        opens_after: OPENS_AFTER,
        first_rest: microseconds(FIRST_REST),
        longest_rest: microseconds(LONGEST_REST),
        quiet: microseconds(QUIET),
        lifetime: std::marker::PhantomData,
    };
    type Row = (String, i64, bool, bool, bool, i64);
    let rows: Vec<Row> = statement.load(&mut &*conn).await?;
    let read = |(id, revision, rests, was_open, is_open, failing_us): Row| {
        let endpoint_id = id.parse().map_err(|error: IdError| QueryError::DeserializationError(error.into()))?;
        let turned = (was_open != is_open).then_some(if is_open { Turned::Open } else { Turned::Closed });
        let failing_for = Duration::from_micros(failing_us.unsigned_abs());
        Ok(Standing { endpoint_id, revision, rests, turned, failing_for })
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
    "UPDATE gates SET failures = 0, failing_since = NULL, failed_at = NULL, is_open = false, is_probed = false, openings = 0, \
         asked_until = 'epoch', rests_until = 'epoch' WHERE endpoint_id = ?"
}

statement! {
    /// A gate that is there for limits alone, or is left from something that is over, holds nothing back.
    AllGated { accounts: Vec<&'a str> => Array<Text> } -> (Text, Bool),
    "SELECT endpoint_id, greatest(asked_until, rests_until) > now() FROM gates WHERE account_id = ANY(?) \
     AND (failures > 0 OR greatest(asked_until, rests_until) > now())"
}

/// Why what an endpoint is owed is for a lease to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gated {
    /// It has failed since its last success, and may be sent to.
    Failing,
    /// It is left alone just now: nothing that it is owed is due.
    Resting,
}

/// Which endpoints of these accounts have failed, or are to be left alone: what they are owed is for a lease to decide. What
/// limits ask for is not looked at.
///
/// # Errors
/// As any query.
pub async fn gated(conn: &AsyncPgConnection, accounts: &BTreeSet<&str>) -> QueryResult<HashMap<String, Gated>> {
    let statement = AllGated { accounts: accounts.iter().copied().collect(), lifetime: std::marker::PhantomData };
    let found: Vec<(String, bool)> = statement.load(&mut &*conn).await?;
    Ok(found.into_iter().map(|(id, rests)| (id, if rests { Gated::Resting } else { Gated::Failing })).collect())
}

/// How many of the fleet's endpoints are not simply sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct Census {
    /// Enabled ones that nothing is sent to just now: they asked for a pause, or their circuit is open.
    #[diesel(sql_type = BigInt)]
    pub resting: i64,
    /// Enabled ones whose circuit is open.
    #[diesel(sql_type = BigInt)]
    pub open: i64,
    /// Enabled ones that have failed since their last success.
    #[diesel(sql_type = BigInt)]
    pub failing: i64,
    /// Those that latchhook has disabled by itself.
    #[diesel(sql_type = BigInt)]
    pub disabled: i64,
}

/// Counts them. Reads the gates, of which only endpoints have one that fail or are limited, and of `endpoints` an index.
///
/// # Errors
/// As any query.
pub async fn census(conn: &AsyncPgConnection) -> QueryResult<Census> {
    let query = "SELECT count(*) FILTER (WHERE greatest(g.asked_until, g.rests_until) > now()) AS resting, \
            count(*) FILTER (WHERE g.is_open) AS open, count(*) FILTER (WHERE g.failures > 0) AS failing, \
            (SELECT count(*) FROM endpoints WHERE disabled_told IS NOT NULL) AS disabled \
        FROM gates g JOIN endpoints e ON e.id = g.endpoint_id WHERE e.enabled";
    diesel::sql_query(query).get_result(&mut &*conn).await
}

/// A gate as people look at it.
#[derive(Debug, Clone, Serialize, Queryable, Selectable)]
#[diesel(table_name = schema::gates)]
pub struct GateRow {
    /// Whether it failed too often in a row: then one delivery at a time is sent, as a probe, until one succeeds.
    pub is_open: bool,
    /// Nothing is sent before this: it asked for a pause.
    pub asked_until: DateTime<Utc>,
    /// Nothing is sent before this: its circuit is open, or a probe is under way.
    pub rests_until: DateTime<Utc>,
    /// Attempts that failed since the last that succeeded.
    pub failures: i32,
    /// When the first of them was recorded.
    pub failing_since: Option<DateTime<Utc>>,
    /// Whether a probe is under way, until `rests_until` at the latest.
    pub is_probed: bool,
}

/// The gate of an endpoint, if it has one.
///
/// # Errors
/// As any query.
pub async fn of(conn: &AsyncPgConnection, endpoint_id: &EndpointId) -> QueryResult<Option<GateRow>> {
    let gate = schema::gates::table.find(endpoint_id.as_str()).select(GateRow::as_select());
    gate.first(&mut &*conn).await.optional()
}
