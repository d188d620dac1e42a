//! How much is owed, and since when, in numbers: what an operator watches. Asked apart, because to count costs as much as there
//! is of it, and who waits is of interest most of all when there is too much to be counted in time.

use std::time::Duration;

use diesel::{
    prelude::*,
    sql_types::{BigInt, Double},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::QueryResult;

/// How many deliveries are not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Pending ones.
    pub pending: u64,
    /// Of these, those whose endpoint is disabled.
    pub held: u64,
    /// Those that stand abandoned.
    pub abandoned: u64,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    pending: i64,
    #[diesel(sql_type = BigInt)]
    held: i64,
    #[diesel(sql_type = BigInt)]
    abandoned: i64,
}

#[derive(QueryableByName)]
struct Oldest {
    #[diesel(sql_type = Double)]
    seconds: f64,
}

/// Counts what is pending and what is abandoned by their indexes, so it costs as much as there is of these, whatever was
/// delivered: 0.2 seconds for a million and 400,000 in a table that was just vacuumed, more where it was not.
///
/// # Errors
/// As any query.
pub async fn backlog(conn: &AsyncPgConnection) -> QueryResult<Backlog> {
    let query = "SELECT (SELECT count(*) FROM due) AS pending, \
        (SELECT count(*) FROM endpoints e JOIN due d ON d.endpoint_id = e.id WHERE NOT e.enabled) AS held, \
        (SELECT count(*) FROM deliveries WHERE abandoned_at IS NOT NULL) AS abandoned";
    let Row { pending, held, abandoned } = diesel::sql_query(query).get_result(&mut &*conn).await?;
    let [pending, held, abandoned] = [pending, held, abandoned].map(i64::unsigned_abs);
    Ok(Backlog { pending, held, abandoned })
}

/// For how long the oldest that may be sent has been due: its endpoint is enabled, and asks for no pause, and no circuit
/// rests. Nothing where none is due. A lease that has ended with nothing recorded counts as of its end. It is found by hopping from
/// endpoint to endpoint, as a lease does, however much each is owed.
///
/// # Errors
/// As any query.
pub async fn oldest_due(conn: &AsyncPgConnection) -> QueryResult<Duration> {
    let query = "WITH RECURSIVE owing (id) AS ( \
             (SELECT endpoint_id FROM due ORDER BY endpoint_id LIMIT 1) \
             UNION ALL \
             SELECT (SELECT d.endpoint_id FROM due d WHERE d.endpoint_id > o.id ORDER BY d.endpoint_id LIMIT 1) \
             FROM owing o WHERE o.id IS NOT NULL), \
         first AS MATERIALIZED ( \
             SELECT e.id, least( \
                 (SELECT due_at FROM due WHERE endpoint_id = e.id AND NOT retry ORDER BY due_at LIMIT 1), \
                 (SELECT due_at FROM due WHERE endpoint_id = e.id AND retry ORDER BY due_at LIMIT 1)) AS due_at \
             FROM owing o JOIN endpoints e ON e.id = o.id WHERE e.enabled), \
         sendable AS ( \
             SELECT greatest(f.due_at, g.asked_until, g.rests_until) AS since \
             FROM first f LEFT JOIN gates g ON g.endpoint_id = f.id WHERE f.due_at IS NOT NULL) \
         SELECT coalesce(extract(epoch FROM now() - min(since)), 0)::float8 AS seconds FROM sendable WHERE since <= now()";
    let Oldest { seconds } = diesel::sql_query(query).get_result(&mut &*conn).await?;
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}
