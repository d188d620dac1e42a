//! `handling`: what an app's handlers may not break. Each call has a savepoint and settings of its own, and the transaction
//! cannot be committed between them.
//!
//! ```text
//!   begin ──▶ savepoint ──call──▶ next ──▶ savepoint ──call──▶ … ──▶ end ──▶ COMMIT
//!                           └──▶ undo (to the savepoint) ──▶ next call
//! ```
//!
//! A call that ended the transaction has taken the savepoint with it, so `next` fails. Its name is another one in each
//! transaction: no call can put one of that name in its place.

use std::time::Duration;

use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use uuid::Uuid;

use crate::{
    QueryResult,
    connect::{AS_IT_BEGAN, IN_ENGLISH},
};

/// The constraint that keeps handlers from COMMIT. It says so too where a handler would have all constraints checked.
pub const CONSTRAINT: &str = "handling_transaction_key";

/// How many rows of `handling` a transaction has while handlers run: one more than COMMIT allows.
const ROWS: usize = 2;

/// What is left of a transaction after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// All that there was before the call.
    Whole,
    /// Nothing: the call has ended it.
    Gone,
}

statement! {
    Allow {} -> (),
    "DELETE FROM handling WHERE transaction = pg_current_xact_id()"
}

/// A transaction in which handlers run.
#[derive(Debug)]
pub struct Guard {
    savepoint: String,
    limits: String,
}

impl Guard {
    /// Before the first call. From here on COMMIT is refused, no statement takes longer than `deadline`, none waits for a lock
    /// longer than half of it (who only waits for others has time to hear so), and Postgres plans an app's statements as it
    /// would elsewhere.
    ///
    /// # Errors
    /// As any query.
    pub async fn begin(mut conn: &AsyncPgConnection, deadline: Duration) -> QueryResult<Self> {
        let (deadline, patience) = (deadline.as_millis().max(1), (deadline / 2).as_millis().max(1));
        let guard = Self {
            savepoint: format!("handler_{}", Uuid::now_v7().simple()),
            limits: format!(
                "SET LOCAL statement_timeout = {deadline}; SET LOCAL lock_timeout = {patience}; \
                 SET LOCAL plan_cache_mode = auto"
            ),
        };
        let Self { savepoint, limits } = &guard;
        let begin = format!(
            "INSERT INTO handling SELECT pg_current_xact_id() FROM generate_series(1, {ROWS}); {limits}; \
             SAVEPOINT {savepoint}"
        );
        conn.batch_execute(&begin).await?;
        Ok(guard)
    }

    /// After a call that went well: keeps what it did, but for what it has SET.
    ///
    /// # Errors
    /// Where the call has left the transaction failed, or has ended it; and as any query.
    pub async fn next(&self, mut conn: &AsyncPgConnection) -> QueryResult<()> {
        let Self { savepoint, limits } = self;
        let next =
            format!("RELEASE SAVEPOINT {savepoint}; {AS_IT_BEGAN}; {IN_ENGLISH}; {limits}; SAVEPOINT {savepoint}");
        conn.batch_execute(&next).await
    }

    /// After a call that failed: takes back what it did.
    ///
    /// # Errors
    /// Where Postgres does not answer.
    pub async fn undo(&self, mut conn: &AsyncPgConnection) -> QueryResult<Undone> {
        match conn.batch_execute(&format!("ROLLBACK TO SAVEPOINT {}", self.savepoint)).await {
            Ok(()) => Ok(Undone::Whole),
            // A server that answers this has no such savepoint, whatever language it says so in.
            Err(_) => conn.batch_execute("ROLLBACK").await.map(|()| Undone::Gone),
        }
    }

    /// After the last call: COMMIT is allowed again, and what the app has deferred to it is checked now, while the deadline
    /// still holds. COMMIT itself has the session's time: a deadline that ended while it waits for a synchronous standby
    /// would have it wait no longer.
    ///
    /// # Errors
    /// Where a constraint of the app's refuses what handlers did; and as any query.
    pub async fn end(self, mut conn: &AsyncPgConnection) -> QueryResult<Undone> {
        let allow = Allow { lifetime: std::marker::PhantomData };
        if allow.execute(&mut conn).await? != ROWS {
            return Ok(Undone::Gone);
        }
        let check = "SET CONSTRAINTS ALL IMMEDIATE; UNLISTEN *; SET LOCAL statement_timeout TO DEFAULT; \
                     SET LOCAL lock_timeout TO DEFAULT; SET LOCAL plan_cache_mode TO DEFAULT";
        conn.batch_execute(check).await.map(|()| Undone::Whole)
    }
}
