//! What deliveries that are to be sent wait for: their turn in a lane, their endpoint to be enabled, its gate to open, or
//! nothing.

use std::{fmt, ops::AddAssign};

use chrono::{DateTime, Utc};
use diesel::{
    deserialize::{self, FromSql, FromSqlRow},
    dsl::sql,
    expression::{SqlLiteral, TypedExpressionType},
    pg::{Pg, PgValue},
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::QueryResult;

statement! {
    /// Once their lanes are promoted. A gate that is open already holds nothing back.
    WaitFor { events: Vec<Uuid> => Array<SqlUuid>, endpoints: Vec<&'a str> => Array<Text> }
        -> (BigInt, BigInt, BigInt, BigInt, Nullable<Timestamptz>, BigInt, Nullable<Timestamptz>),
    "SELECT count(*) FILTER (WHERE what = 'due'), count(*) FILTER (WHERE what = 'in lane'), count(*) FILTER (WHERE what = 'held'), \
         count(*) FILTER (WHERE what = 'circuit_open'), max(opens_at) FILTER (WHERE what = 'circuit_open'), \
         count(*) FILTER (WHERE what = 'retry_after'), max(opens_at) FILTER (WHERE what = 'retry_after') \
     FROM (SELECT CASE WHEN NOT e.enabled THEN 'held' WHEN a.due_at IS NULL THEN 'in lane' WHEN g.endpoint_id IS NULL THEN 'due' \
             WHEN g.rests_until >= g.asked_until THEN 'circuit_open' ELSE 'retry_after' END AS what, \
             greatest(g.asked_until, g.rests_until) AS opens_at \
         FROM (SELECT endpoint_id, (SELECT u.due_at FROM due u WHERE u.event_id = m.event_id AND u.endpoint_id || '' = m.endpoint_id) \
             AS due_at FROM unnest(?, ?) AS m (event_id, endpoint_id)) a \
         LEFT JOIN endpoints e ON e.id = a.endpoint_id \
         LEFT JOIN gates g ON g.endpoint_id = a.endpoint_id AND greatest(g.asked_until, g.rests_until) > now()) again"
}

/// What became of deliveries that a person wants tried again. What is counted nowhere here is being sent at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct MadeDue {
    /// Due at once.
    pub due: i64,
    /// Due once what is before them in their lanes has ended.
    pub waiting_in_lane: i64,
    /// Due once their endpoints are enabled, in a lane or not.
    pub held: i64,
    /// Due once the gates of their endpoints open.
    pub resting: i64,
    /// Those by what closed the gates, each kind once.
    pub gates: Vec<Resting>,
}

/// Deliveries that rest at gates of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resting {
    /// What closed them.
    pub gate: Gate,
    /// How many.
    pub deliveries: i64,
    /// When the last of these gates opens, by Postgres's clock, unless it is closed anew until then.
    pub opens_at: DateTime<Utc>,
}

/// What keeps an endpoint that is enabled from being sent to for a while ([`crate::gates`]): of two the one that lasts longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, FromSqlRow)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// It failed too often in a row; a probe goes first when the circuit has rested.
    CircuitOpen,
    /// It asked for a pause.
    RetryAfter,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CircuitOpen => "circuit open",
            Self::RetryAfter => "Retry-After",
        })
    }
}

impl FromSql<Text, Pg> for Gate {
    fn from_sql(word: PgValue<'_>) -> deserialize::Result<Self> {
        match word.as_bytes() {
            b"circuit_open" => Ok(Self::CircuitOpen),
            b"retry_after" => Ok(Self::RetryAfter),
            _ => Err("no kind of gate".into()),
        }
    }
}

impl MadeDue {
    /// All of them.
    pub fn sum(&self) -> i64 {
        self.due + self.waiting_in_lane + self.held + self.resting
    }

    fn add_resting(&mut self, more: Resting) {
        self.resting += more.deliveries;
        match self.gates.iter_mut().find(|known| known.gate == more.gate) {
            Some(known) => {
                known.deliveries += more.deliveries;
                known.opens_at = known.opens_at.max(more.opens_at);
            }
            None => self.gates.push(more),
        }
    }
}

impl AddAssign for MadeDue {
    fn add_assign(&mut self, more: Self) {
        self.due += more.due;
        self.waiting_in_lane += more.waiting_in_lane;
        self.held += more.held;
        more.gates.into_iter().for_each(|resting| self.add_resting(resting));
    }
}

/// Of deliveries that were just made due, by event and endpoint.
pub(super) async fn what_they_wait_for(conn: &AsyncPgConnection, again: &[(Uuid, String)]) -> QueryResult<MadeDue> {
    let (events, endpoints) = again.iter().map(|(event_id, endpoint_id)| (*event_id, endpoint_id.as_str())).unzip();
    let statement = WaitFor { events, endpoints, lifetime: std::marker::PhantomData };
    let (due, waiting_in_lane, held, open, opens_at, asked, asked_until) = statement.get_result(&mut &*conn).await?;
    let mut made_due = MadeDue { due, waiting_in_lane, held, ..MadeDue::default() };
    for (gate, deliveries, opens_at) in [(Gate::CircuitOpen, open, opens_at), (Gate::RetryAfter, asked, asked_until)] {
        if let Some(opens_at) = opens_at {
            made_due.add_resting(Resting { gate, deliveries, opens_at });
        }
    }
    Ok(made_due)
}

/// When the gate opens at which a delivery rests; null where it is not due yet when that opens, is being sent, waits in its lane or
/// is held.
pub(super) fn rests_until() -> SqlLiteral<Nullable<Timestamptz>> {
    at_its_gate("greatest(g.asked_until, g.rests_until)")
}

/// What has closed it.
pub(super) fn its_gate() -> SqlLiteral<Nullable<Text>> {
    at_its_gate("CASE WHEN g.rests_until >= g.asked_until THEN 'circuit_open' ELSE 'retry_after' END")
}

/// The delivery is looked up where there is a gate that is closed, and nowhere else: most endpoints have none.
fn at_its_gate<T>(what: &str) -> SqlLiteral<Nullable<T>>
where
    Nullable<T>: TypedExpressionType,
{
    sql(&format!(
        "(SELECT CASE WHEN EXISTS (SELECT FROM due w \
                 WHERE w.event_id = deliveries.event_id AND w.endpoint_id || '' = deliveries.endpoint_id \
                 AND (w.lease IS NULL OR w.due_at <= now()) AND w.due_at < greatest(g.asked_until, g.rests_until)) THEN {what} END \
             FROM gates g JOIN endpoints e ON e.id = g.endpoint_id \
             WHERE g.endpoint_id = deliveries.endpoint_id AND e.enabled AND greatest(g.asked_until, g.rests_until) > now())"
    ))
}
