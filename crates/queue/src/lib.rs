//! Everything that is said to Redis: the inbound queue first of all.
//!
//! * [`Redis`]: where it is, and the prefix of every key.
//! * [`Inbound`]: the queue between producer and worker, on apalis-redis's key layout. It enqueues, settles, defers, counts.
//! * [`consume`]: an apalis worker over it, made so that no bug of apalis-redis 1.0.0 can bite; [`Held`] is what it hands out.
//!
//! What Redis does in one step is one file in `lua/`. All run on Redis 7.0 and on Valkey 9.

mod connection;
mod consume;
mod inbound;
mod keys;
mod script;
mod server_facts;
mod subscription;

pub use connection::{Redis, RedisError};
pub use consume::{ConsumerSettings, consume};
pub use inbound::{Counts, DeadWorker, Depth, EnqueueError, Held, HeldId, Inbound, PendingJob, Settled};
pub use server_facts::{Memory, ServerFacts};
