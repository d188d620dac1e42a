//! `handling`: what an app's handlers may not break. Each call has a savepoint of its own, and the transaction cannot be
//! committed between them.
//!
//! ```text
//!   begin ──▶ savepoint ──call──▶ next ──▶ savepoint ──call──▶ … ──▶ end ──▶ COMMIT
//!                           └──▶ undo (to the savepoint) ──▶ next call
//! ```
//!
//! A call that ended the transaction has taken the savepoint with it, so `next` fails.

use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use crate::QueryResult;

/// What is left of a transaction after a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// All that there was before the call.
    Whole,
    /// Nothing: the call has ended it.
    Gone,
}

/// Before the first call. No statement takes longer than `deadline` from here on, and COMMIT is refused.
///
/// # Errors
/// As any query.
pub async fn begin(mut conn: &AsyncPgConnection, deadline: Duration) -> QueryResult<()> {
    let deadline = deadline.as_millis().max(1);
    let begin = format!(
        "INSERT INTO handling SELECT pg_current_xact_id() FROM generate_series(1, 2); \
         SET LOCAL statement_timeout = {deadline}; SAVEPOINT handler"
    );
    conn.batch_execute(&begin).await
}

/// After a call that went well: keeps what it did.
///
/// # Errors
/// Where the call has left the transaction failed, or has ended it; and as any query.
pub async fn next(mut conn: &AsyncPgConnection) -> QueryResult<()> {
    conn.batch_execute("RELEASE SAVEPOINT handler; SAVEPOINT handler").await
}

/// After a call that failed: takes back what it did.
///
/// # Errors
/// Where Postgres does not answer.
pub async fn undo(mut conn: &AsyncPgConnection) -> QueryResult<Undone> {
    match conn.batch_execute("ROLLBACK TO SAVEPOINT handler").await {
        Ok(()) => Ok(Undone::Whole),
        // A server that answers this has no such savepoint, whatever language it says so in.
        Err(_) => conn.batch_execute("ROLLBACK").await.map(|()| Undone::Gone),
    }
}

/// After the last call: COMMIT is allowed again, and has the session's time. A deadline that ended while COMMIT waits for a
/// synchronous standby would have it wait no longer.
///
/// # Errors
/// As any query.
pub async fn end(mut conn: &AsyncPgConnection) -> QueryResult<()> {
    let end = "RELEASE SAVEPOINT handler; DELETE FROM handling WHERE transaction = pg_current_xact_id(); \
               SET LOCAL statement_timeout TO DEFAULT";
    conn.batch_execute(end).await
}
