//! `latchhook_outbox`: raw events that an app has put down in its own transaction, in its own database.
//!
//! ```text
//!   (the app commits) ──▶ waiting ──delete: the queue has it──▶ gone
//!                         ▲     │
//!       retry: a person's │     │ put_aside: it can never be enqueued as it is
//!                    word │     ▼
//!                         └── failed: later rows of its key stay waiting
//! ```
//! The table is not among latchhook's own: the app's migrations make it, from [`DDL`]. It is found by the search path of the
//! connection.

mod rights;

use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Bool, Double, Integer, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;

pub use self::rights::obstacles;
use crate::QueryResult;

/// What makes the table, with its indexes and comments.
pub const DDL: &str = include_str!("outbox.sql");

/// A row that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its place in the order.
    pub id: i64,
    /// The source, as the app spells it.
    pub source_id: String,
    /// Rows of one source and key keep their order.
    pub key: Option<String>,
    /// `None` if it is larger than was asked for.
    pub body: Option<Vec<u8>>,
    /// How large it is.
    pub body_bytes: i32,
    /// JSON; `None` if it is so large that it has more than [`HEADERS`] characters for certain.
    pub headers: Option<String>,
}

/// How much is read at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// At most so many rows.
    pub rows: i64,
    /// The bodies before the last one have fewer bytes than this, together.
    pub bytes: i64,
    /// A body of more bytes is not read.
    pub body: i32,
}

/// No row's headers need more characters.
pub const HEADERS: usize = 64 << 10;

statement! {
    /// A lock for each table, so that two outboxes in one database have nothing to do with each other. The first number is
    /// any that nothing else locks.
    Lead {} -> Bool,
    "SELECT pg_try_advisory_xact_lock(1819566184, 'latchhook_outbox'::regclass::oid::int)"
}

/// Whether this transaction alone forwards, to its end. A statement of its own: the next one then sees all that the leader
/// before it has committed.
///
/// # Errors
/// As any query.
pub async fn lead(conn: &AsyncPgConnection) -> QueryResult<bool> {
    Lead { lifetime: PhantomData }.get_result(&mut &*conn).await
}

statement! {
    /// A row that somebody has locked is waited for: to pass over it would be to pass over the first of its key.
    ///
    /// Headers are made a text only if they cannot be long: the text of 200 MB has 1.2 GB, for which Postgres has no room,
    /// and one such row would stop all others. 65536 characters take at most 262144 bytes of jsonb (four bytes to a
    /// character). Their size is asked of an array around them, because what is stored may be compressed.
    Next { rows: i64 => BigInt, body: i32 => Integer, bytes: i64 => BigInt }
        -> (BigInt, Text, Nullable<Text>, Nullable<Binary>, Integer, Nullable<Text>),
    "WITH locked AS MATERIALIZED ( \
         SELECT id, source_id, key, body, headers FROM latchhook_outbox w \
         WHERE error IS NULL AND NOT EXISTS (SELECT FROM latchhook_outbox f \
             WHERE f.error IS NOT NULL AND f.source_id = w.source_id AND f.key = w.key AND f.id < w.id) \
         ORDER BY id LIMIT ? FOR UPDATE OF w), \
     weighed AS (SELECT *, octet_length(body) AS body_bytes, octet_length(body) <= ? AS fits FROM locked), \
     summed AS (SELECT *, sum(body_bytes) FILTER (WHERE fits) \
         OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM weighed) \
     SELECT id, source_id, key, CASE WHEN fits THEN body END, body_bytes, \
         CASE WHEN pg_column_size(headers) <= 262144 AND pg_column_size(jsonb_build_array(headers)) <= 262160 \
             THEN headers::text END \
     FROM summed WHERE coalesce(before, 0) < ? ORDER BY id"
}

/// The rows that are next, in their order, locked to the end of the transaction. What waits behind a failed row of its key is
/// not among them.
///
/// # Errors
/// As any query.
pub async fn next(conn: &AsyncPgConnection, bounds: Bounds) -> QueryResult<Vec<Waiting>> {
    type Row = (i64, String, Option<String>, Option<Vec<u8>>, i32, Option<String>);
    let Bounds { rows, bytes, body } = bounds;
    let rows: Vec<Row> = Next { rows, body, bytes, lifetime: PhantomData }.get_results(&mut &*conn).await?;
    let waiting = |row: Row| {
        let (id, source_id, key, body, body_bytes, headers) = row;
        Waiting { id, source_id, key, body, body_bytes, headers }
    };
    Ok(rows.into_iter().map(waiting).collect())
}

statement! {
    Delete { ids: &'a [i64] => Array<BigInt> } -> (),
    "DELETE FROM latchhook_outbox WHERE id = ANY(?)"
}

/// Deletes rows; gives how many. Fewer than were asked for: a trigger or a policy of the app's has kept the others, without
/// an error.
///
/// # Errors
/// As any query.
pub async fn delete(conn: &AsyncPgConnection, ids: &[i64]) -> QueryResult<usize> {
    Delete { ids, lifetime: PhantomData }.execute(&mut &*conn).await
}

statement! {
    PutAside { ids: Vec<i64> => Array<BigInt>, reasons: Vec<&'a str> => Array<Text> } -> (),
    "UPDATE latchhook_outbox w SET error = f.reason, failed_at = now() FROM unnest(?, ?) AS f (id, reason) WHERE w.id = f.id"
}

/// Puts rows aside, each for its reason; gives how many, as [`delete`].
///
/// # Errors
/// As any query.
pub async fn put_aside(conn: &AsyncPgConnection, failed: &[(i64, String)]) -> QueryResult<usize> {
    let (ids, reasons) = failed.iter().map(|(id, reason)| (*id, reason.as_str())).unzip();
    PutAside { ids, reasons, lifetime: PhantomData }.execute(&mut &*conn).await
}

/// How much is in the table.
#[derive(Debug, Clone, PartialEq, Serialize, QueryableByName)]
pub struct Depth {
    /// Rows that wait, those behind a failed row too.
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// How many seconds ago the oldest of them was written; `None` if none waits.
    #[diesel(sql_type = Nullable<Double>)]
    pub oldest_seconds: Option<f64>,
    /// How many of them wait for a failed row of their key.
    #[diesel(sql_type = BigInt)]
    pub behind_failed: i64,
    /// Rows that were put aside.
    #[diesel(sql_type = BigInt)]
    pub failed: i64,
}

/// Counts. Reads the whole table.
///
/// # Errors
/// As any query.
pub async fn depth(conn: &AsyncPgConnection) -> QueryResult<Depth> {
    let query = "SELECT count(*) FILTER (WHERE error IS NULL) AS waiting, \
            extract(epoch FROM now() - min(created_at) FILTER (WHERE error IS NULL AND isfinite(created_at)))::float8 \
                AS oldest_seconds, \
            count(*) FILTER (WHERE error IS NULL AND EXISTS (SELECT FROM latchhook_outbox f WHERE f.error IS NOT NULL \
                AND f.source_id = w.source_id AND f.key = w.key AND f.id < w.id)) AS behind_failed, \
            count(*) FILTER (WHERE error IS NOT NULL) AS failed \
        FROM latchhook_outbox w";
    diesel::sql_query(query).get_result(&mut &*conn).await
}

/// A row that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, QueryableByName)]
pub struct Failed {
    /// Which.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// The source, as the app spells it.
    #[diesel(sql_type = Text)]
    pub source_id: String,
    /// Its key.
    #[diesel(sql_type = Nullable<Text>)]
    pub key: Option<String>,
    /// When it was put aside.
    #[diesel(sql_type = Timestamptz)]
    pub failed_at: DateTime<Utc>,
    /// How many later rows of its key wait.
    #[diesel(sql_type = BigInt)]
    pub behind: i64,
    /// Why it was put aside.
    #[diesel(sql_type = Text)]
    pub error: String,
}

/// Up to so many of the rows that were put aside, in the order of their ids.
///
/// # Errors
/// As any query.
pub async fn failed(conn: &AsyncPgConnection, limit: u32) -> QueryResult<Vec<Failed>> {
    let query = "SELECT id, source_id, key, failed_at, error, (SELECT count(*) FROM latchhook_outbox w \
            WHERE w.error IS NULL AND w.source_id = f.source_id AND w.key = f.key AND w.id > f.id) AS behind \
        FROM latchhook_outbox f WHERE error IS NOT NULL ORDER BY id LIMIT $1";
    diesel::sql_query(query).bind::<BigInt, _>(i64::from(limit)).load(&mut &*conn).await
}

/// Which of the failed rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those of a source.
    Of(String),
    /// Those of these that have failed.
    These(Vec<i64>),
}

/// Has failed rows tried again; gives their ids.
///
/// # Errors
/// As any query.
pub async fn retry(conn: &AsyncPgConnection, which: &Which) -> QueryResult<Vec<i64>> {
    #[derive(QueryableByName)]
    struct Retried {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let (source, ids) = match which {
        Which::All => (None, None),
        Which::Of(source) => (Some(source), None),
        Which::These(ids) => (None, Some(ids)),
    };
    let query = "UPDATE latchhook_outbox SET error = NULL, failed_at = NULL WHERE error IS NOT NULL \
        AND ($1 IS NULL OR source_id = $1) AND ($2 IS NULL OR id = ANY($2)) RETURNING id";
    let query = diesel::sql_query(query).bind::<Nullable<Text>, _>(source).bind::<Nullable<Array<BigInt>>, _>(ids);
    let retried: Vec<Retried> = query.load(&mut &*conn).await?;
    let mut ids: Vec<i64> = retried.iter().map(|retried| retried.id).collect();
    ids.sort_unstable();
    Ok(ids)
}
