//! Making due at once whatever an endpoint is owed, from the start of the schedule: what held it up was no fault of the
//! delivery's.
//!
//! An endpoint that was disabled for days may be owed millions. So this goes chunk by chunk, in the order of `due_next`, and
//! before the endpoint is enabled: nothing is leased meanwhile, and whoever is interrupted repeats it.

use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use vocabulary::EndpointId;

use crate::QueryResult;

/// So many rows are written by one statement, for some hundred milliseconds.
const TOGETHER: i64 = 10_000;

/// Which deliveries, as the index has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Those that were tried before.
    Tried,
    /// Those that were not.
    Untried,
}

statement! {
    /// Gives how many rows there were, and up to when they had been due. What is moved is none of these rows any more: it is
    /// not tried yet, and due.
    CatchUp { endpoint_id: &'a str => Text, tried: bool => Bool, from: DateTime<Utc> => Timestamptz, most: i64 => BigInt }
        -> (BigInt, Nullable<Timestamptz>),
    "WITH later AS MATERIALIZED (SELECT ctid AS place, due_at FROM due \
         WHERE endpoint_id = ? AND retry = ? AND due_at >= ? AND (retry OR due_at > now()) AND lease IS NULL \
         ORDER BY due_at LIMIT ? FOR UPDATE SKIP LOCKED), \
     moved AS (UPDATE due SET due_at = now(), attempts = 0 WHERE ctid = ANY(ARRAY(SELECT place FROM later))) \
     SELECT count(*), max(due_at) FROM later"
}

/// Makes the next chunk due of those that were to be tried at `from` or later. Gives from when on the next chunk begins; `None`
/// when nothing is left.
///
/// # Errors
/// As any query.
pub async fn catch_up(
    conn: &AsyncPgConnection,
    endpoint_id: &EndpointId,
    kind: Kind,
    from: DateTime<Utc>,
) -> QueryResult<Option<DateTime<Utc>>> {
    let (endpoint_id, tried) = (endpoint_id.as_str(), kind == Kind::Tried);
    let statement = CatchUp { endpoint_id, tried, from, most: TOGETHER, lifetime: PhantomData };
    let (rows, last): (i64, Option<DateTime<Utc>>) = statement.get_result(&mut &*conn).await?;
    Ok(last.filter(|_| rows == TOGETHER))
}

/// How many deliveries an endpoint is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owed {
    /// Due, now or at some time.
    pub due: i64,
    /// Due once what is before them in their lanes has ended.
    pub waiting_in_lane: i64,
}

statement! {
    CountOwed { endpoint_id: &'a str => Text } -> (BigInt, BigInt),
    "SELECT count(due_at), count(*) - count(due_at) FROM due WHERE endpoint_id = ?"
}

/// Counts them.
///
/// # Errors
/// As any query.
pub async fn owed(conn: &AsyncPgConnection, endpoint_id: &EndpointId) -> QueryResult<Owed> {
    let statement = CountOwed { endpoint_id: endpoint_id.as_str(), lifetime: PhantomData };
    let (due, waiting_in_lane) = statement.get_result(&mut &*conn).await?;
    Ok(Owed { due, waiting_in_lane })
}
