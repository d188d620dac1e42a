//! Takes jobs from Redis as long as there is room for them.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, mpsc::Sender, watch};
use tokio_util::sync::CancellationToken;

use super::{ConsumerSettings, holding::Holding, jittered};
use crate::{Held, HeldId, Inbound, RedisError, inbound::parse_job_id, script};

/// The fetching half of a life.
pub(super) struct Fetcher {
    pub(super) inbound: Inbound,
    pub(super) settings: ConsumerSettings,
    pub(super) worker: Arc<str>,
    pub(super) holding: Holding,
    pub(super) jobs: Sender<Held>,
    pub(super) pause: watch::Receiver<bool>,
    pub(super) wake: Arc<Notify>,
    pub(super) over: CancellationToken,
}

/// What one fetch brought.
enum Fetched {
    /// Jobs, and when the next scheduled one is due.
    Jobs(Vec<Held>, Option<Duration>),
    /// We were taken for dead.
    NotRegistered,
}

/// Id, bytes, unclean starts, of these alone, ms since it was first deferred (-1: never), whether its numbers are not given.
type Fields = (Vec<u8>, Vec<u8>, u32, u32, i64, bool);
type Answer = Option<(Vec<Fields>, Vec<Vec<u8>>, i64)>;

impl Fetcher {
    /// A step, then a pause, until the life is over.
    pub(super) async fn run(mut self) {
        // Whatever ends this, a life without a fetcher is over.
        let over = self.over.clone();
        let _over = over.clone().drop_guard();
        while let Some(Some(room)) = over.run_until_cancelled(self.room()).await {
            let pause = self.step(room).await;
            if pause > Duration::ZERO {
                let until = async { tokio::time::timeout(pause, self.wake.notified()).await };
                let _ = over.run_until_cancelled(until).await;
            }
        }
    }

    /// Waits until half of the channel is free (a fetch for every single job would be dear), until there is memory, and
    /// until nobody has paused us. `None` when nobody wants jobs any more.
    async fn room(&mut self) -> Option<usize> {
        self.jobs.reserve_many(self.jobs.max_capacity().div_ceil(2)).await.ok().map(drop)?;
        self.holding.is_below(self.settings.held_bytes).await;
        if self.pause.wait_for(|paused| !paused).await.is_err() {
            // Whoever could pause us is gone, with the pause.
            tracing::debug!("queue.pause.abandoned");
        }
        Some(self.jobs.capacity())
    }

    /// Fetches once and hands over what came. Returns how long to wait before the next time.
    async fn step(&self, room: usize) -> Duration {
        match self.fetch(room).await {
            Ok(Fetched::Jobs(jobs, due)) if jobs.is_empty() => {
                due.map_or(self.settings.poll_floor, |due| due.min(self.settings.poll_floor))
            }
            Ok(Fetched::Jobs(jobs, _)) => {
                jobs.into_iter().for_each(|held| self.hand_over(held));
                Duration::ZERO
            }
            Ok(Fetched::NotRegistered) => {
                self.over.cancel();
                Duration::ZERO
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "queue.fetch.failed");
                jittered(self.settings.poll_floor / 2)
            }
        }
    }

    fn hand_over(&self, held: Held) {
        self.holding.add(&held);
        // There is room. If the worker has gone meanwhile, the life gives the job back when it leaves.
        let _ = self.jobs.try_send(held);
    }

    async fn fetch(&self, room: usize) -> Result<Fetched, RedisError> {
        let keys = &self.inbound.keys;
        let mut call = script::FETCH.key(&keys.workers);
        call.key(&keys.active).key(&keys.scheduled).key(&keys.data).key(keys.inflight(&self.worker));
        call.key(&keys.incarnation).key(&keys.incarnations);
        call.arg(&*self.worker).arg(&keys.meta_prefix).arg(room).arg(self.settings.fetch_bytes);
        let answer: Answer = call.invoke_async(&mut self.inbound.redis.connection().await?).await?;
        let Some((jobs, dropped, due)) = answer else {
            return Ok(Fetched::NotRegistered);
        };
        self.report(&dropped);
        let jobs = jobs.into_iter().map(|fields| self.held(fields));
        Ok(Fetched::Jobs(jobs.collect(), u64::try_from(due).ok().map(Duration::from_millis)))
    }

    fn held(&self, (job, payload, unclean_starts, unclean_alone, deferred_ms, is_ahead): Fields) -> Held {
        let given = parse_job_id(&job).filter(|_| !is_ahead);
        let (first, count) = given.map_or((None, 0), |(first, count)| (Some(first), count));
        let id = HeldId { job: job.into(), worker: self.worker.clone() };
        let deferred_for = u64::try_from(deferred_ms).ok().map(Duration::from_millis);
        Held { id, payload: payload.into(), first, count, unclean_starts, unclean_alone, deferred_for }
    }

    fn report(&self, dropped: &[Vec<u8>]) {
        self.inbound.counters.dropped.add(dropped.len());
        for id in dropped {
            tracing::error!(job.id = %String::from_utf8_lossy(id), "queue.job.dropped: no bytes, or listed twice");
        }
    }
}
