//! Everything that is said to Redis: the inbound queue, the claim, the snapshot of the sources, the dispatcher's
//! wake-up.
//!
//! * [`Redis`]: where it is, and the prefix of every key.
//! * [`Inbound`]: the queue between producer and worker, on apalis-redis's key layout. It enqueues, settles, defers,
//!   counts.
//! * [`consume`]: an apalis worker over it, made so that no bug of apalis-redis 1.0.0 can bite; [`Held`] is what it
//!   hands out.
//! * [`Claims`]: the atomic hold on a key while a worker works on it. The first of the two places that stop a
//!   duplicate, and an economy: the ledger in Postgres is the one that decides.
//! * [`Snapshots`]: what a producer must know of the sources without asking Postgres.
//! * [`Wake`]: "something is due", said to the dispatcher, and lost without harm.
//!
//! What Redis does in one step is one file in `lua/`. All run on Redis 7.0 and on Valkey 9.

mod claim;
mod connection;
mod consume;
mod inbound;
mod keys;
mod script;
mod server_facts;
mod snapshot;
mod subscription;
mod wake;

pub use claim::{Claim, ClaimSettings, Claims, HeldClaim, Owner, Run, Wanted};
pub use connection::{Redis, RedisError};
pub use consume::{ConsumerSettings, consume};
pub use inbound::{Counts, DeadWorker, Depth, EnqueueError, Held, HeldId, Inbound, PendingJob, Settled};
pub use server_facts::{Memory, ServerFacts};
pub use snapshot::{Directory, Listed, Published, Read, Snapshot, SnapshotError, Snapshots, Version};
pub use wake::Wake;
