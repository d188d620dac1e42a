//! Making due at once whatever an endpoint is owed, from the start of the schedule: what held it up was no fault of the
//! delivery's.
//!
//! An endpoint that was disabled for days may be owed millions. So this goes chunk by chunk, in the order of `due_next`, and
//! before the endpoint is enabled: nothing is leased meanwhile, and whoever is interrupted repeats it. For one that moves it goes
//! on once that is committed, for before that all of it would be sent to where the endpoint is no longer. All of it, also what was
//! never tried, gives way to first attempts from then on (`again`): what is new does not wait for days to be made up for. What
//! waits in a lane is left as it is, and is a first attempt once its turn has come.

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
    /// Gives how many rows there were, and up to when they had been due. What is moved is none of these rows any more. What had
    /// been due keeps its place among them, behind where the next chunk begins.
    CatchUp {
        endpoint_id: &'a str => Text,
        is_retry: bool => Bool,
        from: Option<DateTime<Utc>> => Nullable<Timestamptz>,
        most: i64 => BigInt,
    } -> (BigInt, Nullable<Timestamptz>),
    "WITH asked (endpoint_id, is_retry, since) AS (SELECT ?, ?, coalesce(?, now())), \
     later AS MATERIALIZED (SELECT d.ctid AS place, d.due_at FROM asked a CROSS JOIN LATERAL ( \
         SELECT ctid, due_at FROM due WHERE endpoint_id = a.endpoint_id AND retry = a.is_retry AND due_at >= a.since \
             AND (attempts > 0 OR NOT again OR due_at > now()) AND lease IS NULL \
         ORDER BY due_at LIMIT ? FOR UPDATE SKIP LOCKED) d), \
     moved AS (UPDATE due SET due_at = least(due_at, now()), attempts = 0, again = true \
         WHERE ctid = ANY(ARRAY(SELECT place FROM later))) \
     SELECT count(*), max(due_at) FROM later"
}

/// Makes all due that an endpoint is owed, in one statement after the other. Outside of a transaction, so that none is long.
///
/// # Errors
/// As any query; what was made due until then stays so.
pub async fn catch_up(conn: &AsyncPgConnection, endpoint_id: &EndpointId) -> QueryResult<()> {
    // What is no retry becomes one by this, and would be found among them.
    for is_retry in [true, false] {
        let mut next = Some(DateTime::UNIX_EPOCH);
        while next.is_some() {
            next = chunk(conn, endpoint_id, is_retry, next).await?;
        }
    }
    Ok(())
}

/// Makes the first due of what is to be tried later: what came since [`catch_up`], for who enables the endpoint in a
/// transaction; or what comes before it, for who moves it in one.
///
/// # Errors
/// As any query.
pub(crate) async fn catch_up_first(conn: &AsyncPgConnection, endpoint_id: &EndpointId) -> QueryResult<()> {
    for is_retry in [true, false] {
        chunk(conn, endpoint_id, is_retry, None).await?;
    }
    Ok(())
}

/// Of those that are retries, or are not, as the index has them: the next that were to be tried at `from` or later, or from now
/// on. Gives from when on the next chunk begins; `None` when nothing is left.
async fn chunk(
    conn: &AsyncPgConnection,
    endpoint_id: &EndpointId,
    is_retry: bool,
    from: Option<DateTime<Utc>>,
) -> QueryResult<Option<DateTime<Utc>>> {
    let endpoint_id = endpoint_id.as_str();
    let statement = CatchUp { endpoint_id, is_retry, from, most: TOGETHER, lifetime: PhantomData };
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
