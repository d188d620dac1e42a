//! Consuming the inbound queue: an apalis worker, over a backend that is ours.
//!
//! The cast of one *life*, which has a name that no other life has:
//!
//! * the **fetcher** ([`fetcher`]) takes jobs from Redis into a bounded channel, as long as there is room in it;
//! * the **worker** is apalis's own: it takes jobs from the channel ([`backend`]) and runs so many handlers at once;
//! * the **keeper** ([`keeper`]) says on its own timer that the worker lives, however busy it is, takes dead workers'
//!   jobs back, and finds what got stranded between Redis and us.
//!
//! A life ends when it is told to stop, or finds that it was taken for dead. It lets its handlers finish, for a
//! while, goes on beating meanwhile, gives back what it did not start, and deregisters. Killed outright, it leaves
//! all that to the keepers of others, after its lease.
//!
//! # Why the backend is ours
//!
//! apalis-redis 1.0.0 brings its own, with an acknowledgement layer, and its bugs all sit there: 8,000 due jobs wedge
//! it for ever; a job that does not decode, or whose metadata is missing, ends the worker and the next one; its
//! acknowledgement channel hangs the shutdown when more than four batches are in flight; a busy worker neither beats
//! nor acknowledges, and is robbed; a fetch in flight at the stop is lost until the orphan window ends; what is
//! finished is never deleted. Here, whoever does the work settles it ([`crate::Inbound::settle`]), a whole group at
//! once, and a handler has no result that could be lost. The contract tests are in `tests/pipeline/queue.rs`; those
//! named `upstream_` show that the bugs are there.

mod backend;
mod fetcher;
mod holding;
mod keeper;
mod life;

use std::{sync::Arc, time::Duration};

use rand::Rng;
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{Held, Inbound, subscription};
use life::Life;

/// How a process consumes.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// Handlers that run at the same time: those of the groups that are being written, and of one that gathers. As many
    /// jobs again may wait in memory, where one fetch takes so many.
    pub concurrency: usize,
    /// A worker that has not beaten for so long is dead, and its jobs are others'. It beats three times as often.
    pub lease: Duration,
    /// An idle worker asks Redis at least so often; a published wake-up is what makes it prompt.
    pub poll_floor: Duration,
    /// How long running handlers may take to finish after a stop. Less than what the platform waits before it kills.
    pub drain: Duration,
    /// Jobs that one fetch takes at most.
    pub fetch_jobs: usize,
    /// Bytes after which one fetch takes no further job.
    pub fetch_bytes: usize,
    /// Bytes of jobs in memory, started or not, from which on nothing is fetched. One fetch may exceed them.
    pub held_bytes: usize,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            concurrency: 1_024,
            lease: Duration::from_secs(30),
            poll_floor: Duration::from_secs(1),
            drain: Duration::from_secs(25),
            fetch_jobs: 512,
            fetch_bytes: 8 << 20,
            held_bytes: 64 << 20,
        }
    }
}

/// Runs `handle` for every job until stopped and drained. While `pause` is true nothing is fetched.
///
/// A handler ends when its job is settled or deferred. One that ends otherwise has its job back in the queue within
/// two beats (two thirds of a lease); one that panics has it deferred for 1–2 s, and an unclean start counted on it. Dropping the future is a death
/// without a farewell: the jobs come back when the lease has run out.
pub async fn consume<F, Fut>(
    inbound: Inbound,
    settings: ConsumerSettings,
    pause: watch::Receiver<bool>,
    stop: CancellationToken,
    handle: F,
) where
    F: Fn(Held) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let wake = Arc::new(Notify::new());
    let listening = subscription::listen(inbound.redis.clone(), inbound.keys.channel.clone(), wake.clone());
    let _listening = AbortOnDropHandle::new(tokio::spawn(listening));
    while !stop.is_cancelled() {
        match Life::begin(&inbound, &settings).await {
            Ok(life) => life.live(&wake, &pause, &stop, handle.clone()).await,
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "queue.worker.not_registered"),
        }
        stop.run_until_cancelled(tokio::time::sleep(jittered(Duration::from_secs(1)))).await;
    }
}

/// Between one and two times `base`, so that many who failed together do not come back together.
pub(crate) fn jittered(base: Duration) -> Duration {
    base.mul_f64(rand::rng().random_range(1.0..2.0))
}
