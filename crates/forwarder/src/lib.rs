//! Before stage 1, for apps with a Postgres of their own: takes what such an app has committed to an outbox to the queue.
//!
//! The cast:
//!
//! * The *app*: in its own transaction, beside its own rows, it puts raw events into its table `latchhook_outbox`. What it
//!   rolls back was never there.
//! * [`Forwarder`]: enqueues them through a [`producer::Producer`], as any app would that embeds one, and deletes them.
//! * `batch`: which rows can be enqueued, and why the others cannot.
//!
//! What is promised:
//!
//! * *At least once.* A row is deleted in a transaction that began before it was enqueued, and is committed only once Redis
//!   has it. Who dies in between enqueues it again, and the ledger drops the duplicate: its events have the same keys.
//! * *In order of a key.* A row is enqueued for the first time only after every row of its (source, key) that was committed
//!   before, with a lower id, has been. Of all forwarders of a table one leads at a time, for one transaction, under an
//!   advisory lock. What is enqueued twice may come once more behind later rows: a forwarder that was frozen for longer than
//!   Postgres lets its transaction idle does not know that another one leads now, and Redis cannot know either.
//! * *A row that can never be enqueued blocks nothing but its own key.* It is put aside with the reason, and waits for a
//!   person.
//!
//! The lock is no economy here: the order rests on it. That nothing is lost does not.

mod batch;
mod error;
mod forwarder;

pub use error::ForwardError;
pub use forwarder::{Forwarder, Step};
