//! The lanes of endpoints that asked for order: of each lane one delivery at a time, the next only after the former ended.
//!
//! A lane is no row: it is the deliveries in `due` that bear its name. At most one of them has a `due_at`; the others wait
//! without one, so that no lease sees them, however many lanes there are and however long one of them is stuck. Whoever adds
//! to a lane or ends a delivery of it locks it first, to COMMIT, and promotes its first at the end: of two who do so at the
//! same moment neither overlooks what the other did.

use std::collections::BTreeSet;

use diesel::sql_types::{Array, Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::QueryResult;

/// Endpoint and name of a lane.
pub type Lane<'a> = (&'a str, &'a str);

/// The lanes among deliveries, each named once.
pub fn of<'a>(deliveries: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> BTreeSet<Lane<'a>> {
    deliveries.filter_map(|(endpoint, lane)| Some((endpoint, lane?))).collect()
}

statement! {
    /// By their hashes, in the order of these, so that nobody waits in a circle. There are a thousand different ones, because
    /// locks have room in Postgres for some ten thousand; two lanes of one hash wait for each other now and then, no more.
    Lock { endpoints: Vec<&'a str> => Array<Text>, names: Vec<&'a str> => Array<Text> } -> (),
    "SELECT pg_advisory_xact_lock(hash) FROM (SELECT DISTINCT hashtextextended(endpoint_id || ' ' || lane, 0) & 1023 AS hash \
     FROM unnest(?, ?) AS l (endpoint_id, lane) ORDER BY hash) locked"
}

/// Locks lanes to the end of the transaction.
///
/// # Errors
/// As any query.
pub async fn lock(conn: &AsyncPgConnection, lanes: &BTreeSet<Lane<'_>>) -> QueryResult<()> {
    let (endpoints, names) = lanes.iter().copied().unzip();
    let statement = Lock { endpoints, names, lifetime: std::marker::PhantomData };
    statement.execute(&mut &*conn).await.map(drop)
}

statement! {
    /// In the order of the lanes. A hash that is had already is had once more.
    TryLock { endpoints: Vec<&'a str> => Array<Text>, names: Vec<&'a str> => Array<Text> } -> Bool,
    "SELECT pg_try_advisory_xact_lock(hashtextextended(endpoint_id || ' ' || lane, 0) & 1023) \
     FROM unnest(?, ?) WITH ORDINALITY AS l (endpoint_id, lane, place) ORDER BY place"
}

/// Locks those of these lanes that nobody holds, to the end of the transaction, and gives them.
///
/// # Errors
/// As any query.
pub async fn try_lock<'a>(conn: &AsyncPgConnection, lanes: &BTreeSet<Lane<'a>>) -> QueryResult<BTreeSet<Lane<'a>>> {
    let (endpoints, names) = lanes.iter().copied().unzip();
    let statement = TryLock { endpoints, names, lifetime: std::marker::PhantomData };
    let had: Vec<bool> = statement.load(&mut &*conn).await?;
    Ok(lanes.iter().copied().zip(had).filter_map(|(lane, had)| had.then_some(lane)).collect())
}

statement! {
    Promote { endpoints: Vec<&'a str> => Array<Text>, names: Vec<&'a str> => Array<Text> } -> (),
    "UPDATE due SET due_at = now() WHERE due_at IS NULL AND ctid = ANY(ARRAY( \
         SELECT first.place FROM unnest(?, ?) AS l (endpoint_id, lane) CROSS JOIN LATERAL ( \
             SELECT d.ctid AS place FROM due d WHERE d.endpoint_id = l.endpoint_id AND d.lane = l.lane \
             ORDER BY (d.due_at IS NULL), d.sequence LIMIT 1) first))"
}

/// Makes the first of each lane due where none is. The lanes must be locked.
///
/// # Errors
/// As any query.
pub async fn promote(conn: &AsyncPgConnection, lanes: &BTreeSet<Lane<'_>>) -> QueryResult<()> {
    let (endpoints, names) = lanes.iter().copied().unzip();
    let statement = Promote { endpoints, names, lifetime: std::marker::PhantomData };
    statement.execute(&mut &*conn).await.map(drop)
}
