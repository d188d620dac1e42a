//! Why nothing was forwarded.

use database::{DatabaseError, QueryError};
use producer::EnqueueError;
use queue::{RedisError, SnapshotError};

/// Why a batch was not forwarded. All of it is where it was, and the next try finds it.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// No connection to the app's Postgres.
    #[error("the outbox is out of reach")]
    Connection(#[from] DatabaseError),
    /// A statement failed.
    #[error("the outbox cannot be read or written")]
    Query(#[from] QueryError),
    /// A trigger, a rule or a policy of the app's makes the statement do nothing.
    #[error(
        "Postgres has {done} only {changed} of {rows} rows of latchhook_outbox, from row {first}, and gives no error: a trigger, a \
         rule or row-level security holds the others; nothing of them is enqueued until it lets go"
    )]
    Withheld {
        /// What was to be done with the rows.
        done: &'static str,
        /// The first of them.
        first: i64,
        /// How many they are.
        rows: usize,
        /// Of how many it was done.
        changed: usize,
    },
    /// Nobody can say which sources there are.
    #[error("which sources there are cannot be read from Redis")]
    Sources(#[from] SnapshotError),
    /// Likewise: no worker or dispatcher has run since Redis was empty.
    #[error("nobody has published in Redis which sources there are: start a worker, or a dispatcher")]
    NoSources,
    /// Redis does not say how full it is.
    #[error("Redis does not say how full it is")]
    Memory(#[from] RedisError),
    /// The last quarter of Redis belongs to what empties it.
    #[error("Redis is above 75 % of its maxmemory: the outbox waits until the workers have caught up")]
    Filling,
    /// The queue has not confirmed it.
    #[error("the queue has not taken what is in the outbox")]
    Enqueue(#[from] EnqueueError),
    /// Redis has not done all of it in time.
    #[error("Redis is too slow: the transaction in the outbox would be open for too long")]
    TooSlow,
}
