//! Making due at once whatever an endpoint is owed, from the start of the schedule: what held it up was no fault of the
//! delivery's.
//!
//! An endpoint that was disabled for days may be owed millions. So this goes chunk by chunk, in the order of `due_next`, and
//! before the endpoint is enabled: nothing is leased meanwhile, and whoever is interrupted repeats it.

use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, QueryDsl,
    dsl::{count, count_star, min},
    sql_types::{BigInt, Bool, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use vocabulary::EndpointId;

use crate::{QueryResult, schema::due};

/// So many rows are written by one statement, for some hundred milliseconds.
const TOGETHER: i64 = 10_000;

statement! {
    /// Gives how many rows there were, and up to when they had been due. What is moved is none of these rows any more: it is
    /// not tried yet, and due.
    CatchUp { endpoint_id: &'a str => Text, tried: bool => Bool, from: DateTime<Utc> => Timestamptz, most: i64 => BigInt }
        -> (BigInt, Nullable<Timestamptz>),
    "WITH asked (endpoint_id, tried, since) AS (SELECT ?, ?, ?), \
     later AS MATERIALIZED (SELECT d.ctid AS place, d.due_at FROM asked a CROSS JOIN LATERAL ( \
         SELECT ctid, due_at FROM due WHERE endpoint_id = a.endpoint_id AND retry = a.tried AND due_at >= a.since \
             AND due_at > CASE WHEN a.tried THEN '-infinity' ELSE now() END AND lease IS NULL \
         ORDER BY due_at LIMIT ? FOR UPDATE SKIP LOCKED) d), \
     moved AS (UPDATE due SET due_at = now(), attempts = 0 WHERE ctid = ANY(ARRAY(SELECT place FROM later))) \
     SELECT count(*), max(due_at) FROM later"
}

/// Makes all due that an endpoint is owed, in one statement after the other. Outside of a transaction, so that none is long.
///
/// # Errors
/// As any query; what was made due until then stays so.
pub async fn catch_up(conn: &AsyncPgConnection, endpoint_id: &EndpointId) -> QueryResult<()> {
    for tried in [true, false] {
        let mut next = Some(DateTime::UNIX_EPOCH);
        while let Some(from) = next {
            next = chunk(conn, endpoint_id, tried, from).await?;
        }
    }
    Ok(())
}

/// Makes the first of it due: what came since [`catch_up`], for who enables the endpoint in a transaction.
///
/// # Errors
/// As any query.
pub(crate) async fn catch_up_first(conn: &AsyncPgConnection, endpoint_id: &EndpointId) -> QueryResult<()> {
    for tried in [true, false] {
        chunk(conn, endpoint_id, tried, DateTime::UNIX_EPOCH).await?;
    }
    Ok(())
}

/// Of those that were tried before, or were not, as the index has them: the next that were to be tried at `from` or later. Gives
/// from when on the next chunk begins; `None` when nothing is left.
async fn chunk(
    conn: &AsyncPgConnection,
    endpoint_id: &EndpointId,
    tried: bool,
    from: DateTime<Utc>,
) -> QueryResult<Option<DateTime<Utc>>> {
    let endpoint_id = endpoint_id.as_str();
    let statement = CatchUp { endpoint_id, tried, from, most: TOGETHER, lifetime: PhantomData };
    let (rows, last): (i64, Option<DateTime<Utc>>) = statement.get_result(&mut &*conn).await?;
    Ok(last.filter(|_| rows == TOGETHER))
}

/// What an endpoint is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owed {
    /// Due, now or at some time.
    pub due: i64,
    /// Due once what is before them in their lanes has ended.
    pub waiting_in_lane: i64,
    /// When the first of it is due.
    pub next_due_at: Option<DateTime<Utc>>,
}

impl Owed {
    /// How many deliveries it is.
    pub fn deliveries(&self) -> i64 {
        self.due + self.waiting_in_lane
    }
}

/// Counts what an endpoint is owed.
///
/// # Errors
/// As any query.
pub async fn owed_to(conn: &AsyncPgConnection, endpoint_id: &str) -> QueryResult<Owed> {
    let counts = (count_star(), count(due::due_at), min(due::due_at));
    let owed = due::table.filter(due::endpoint_id.eq(endpoint_id)).select(counts);
    let (all, due, next_due_at): (i64, i64, _) = owed.first(&mut &*conn).await?;
    Ok(Owed { due, waiting_in_lane: all - due, next_due_at })
}
