//! The inbound queue: what the producer puts in, and what the worker is handed.
//!
//! A *job* carries one or more raw events. It is **ready** (the list `active`), **scheduled** (due later), or
//! **inflight** (in the hands of one worker); `settle` ends it, and leaves nothing behind.
//!
//! ```text
//! enqueue ──▶ ready ──fetch──▶ inflight ──settle──▶ gone
//!               ▲                │  │
//!               ├──hand back─────┘  └──defer──▶ scheduled ──when due──▶ ready
//!               ├──recover (its worker died: one unclean start more)
//!               ├──take apart (many jobs in its place, one a raw event)
//!               └──defer rest (likewise, of what is left of it; the others are gone)
//! ```
//!
//! A worker that dies tells nobody what killed it, so Redis counts the *unclean starts* of every job that it held; those of
//! a job that ran alone count apart, because then nothing else can have been the cause.
//!
//! An *incarnation* is one life of the queue's memory, and each raw event gets the next number in it, without gaps,
//! by the script that makes its job ready. It is bound to Redis's `run_id`: a Redis that was restarted may have lost
//! its tail, and would give the same numbers twice. (Whoever was given them then reminds it of that tail: `memory`.) The
//! script itself asks for the `run_id` at every enqueue. That costs 7 µs and, other than asking once a connection, holds
//! behind a proxy that fails over without cutting anybody.

mod counts;
mod enqueue;
mod held;
mod job_id;
mod look;
mod memory;
mod take_apart;

use std::sync::Arc;

pub use counts::Counts;
pub use enqueue::EnqueueError;
pub use held::{Held, HeldId, Settled};
pub use look::{DeadWorker, Depth, PendingJob};

pub(crate) use counts::Counters;
pub(crate) use job_id::parse as parse_job_id;

use crate::{Redis, keys::Keys};

/// Ids and jobs that one script call handles: a Redis is blocked for a few milliseconds at most.
pub(crate) const CHUNK: usize = 500;

/// The inbound queue. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Inbound {
    pub(crate) redis: Redis,
    pub(crate) keys: Arc<Keys>,
    pub(crate) counters: Arc<Counters>,
    memory: Arc<memory::Memory>,
}

impl Inbound {
    /// The inbound queue of one installation.
    pub fn new(redis: &Redis) -> Self {
        let keys = Arc::new(Keys::new(redis.prefix()));
        Self { redis: redis.clone(), keys, counters: Arc::default(), memory: Arc::default() }
    }

    /// What should be rare, counted since this queue was opened by this process.
    pub fn counts(&self) -> Counts {
        self.counters.read()
    }
}
