//! Takes jobs from Redis as long as there is room for them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::{Notify, mpsc::Sender, watch};
use tokio_util::sync::CancellationToken;
use vocabulary::{Incarnation, Stamp};

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

/// What is known of a job beside its bytes: unclean starts, of these alone, ms since it was first deferred (-1: never).
type History = (u32, u32, i64);
/// Names, by their places (from 1) the histories of those that have one, what was dropped, ms until the next is due (-1: none
/// is), and two by two incarnations and their last numbers.
type Answer = Option<(Vec<Vec<u8>>, Vec<(usize, History)>, Vec<Vec<u8>>, i64, Vec<Vec<u8>>)>;

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
        let Some((names, histories, dropped, due, lasts)) = answer else {
            return Ok(Fetched::NotRegistered);
        };
        self.report(&dropped);
        let jobs =
            if names.is_empty() { Vec::new() } else { self.jobs(names, histories, &last_numbers(&lasts)).await? };
        Ok(Fetched::Jobs(jobs, u64::try_from(due).ok().map(Duration::from_millis)))
    }

    /// The jobs of these names, in order, without those that were taken away and settled meanwhile. When Redis does not
    /// answer, they are found stranded.
    async fn jobs(
        &self,
        names: Vec<Vec<u8>>,
        histories: Vec<(usize, History)>,
        lasts: &HashMap<Incarnation, u64>,
    ) -> Result<Vec<Held>, RedisError> {
        let bytes = self.bytes(&names).await?;
        let histories: HashMap<usize, History> = histories.into_iter().collect();
        let jobs = (1..).zip(names).zip(bytes).filter_map(|((place, name), bytes)| {
            let given = parse_job_id(&name).filter(|(first, count)| !is_ahead(first, *count, lasts));
            let (first, count) = given.map_or((None, 0), |(first, count)| (Some(first), count));
            let (unclean_starts, unclean_alone, deferred_ms) = histories.get(&place).copied().unwrap_or((0, 0, -1));
            let id = HeldId { job: name.into(), worker: self.worker.clone() };
            let deferred_for = u64::try_from(deferred_ms).ok().map(Duration::from_millis);
            Some(Held { id, payload: bytes?.into(), first, count, unclean_starts, unclean_alone, deferred_for })
        });
        Ok(jobs.collect())
    }

    async fn bytes(&self, names: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, RedisError> {
        let mut connection = self.inbound.redis.connection().await?;
        Ok(redis::cmd("HMGET").arg(&self.inbound.keys.data).arg(names).query_async(&mut connection).await?)
    }

    fn report(&self, dropped: &[Vec<u8>]) {
        self.inbound.counters.dropped.add(dropped.len());
        for id in dropped {
            tracing::error!(job.id = %String::from_utf8_lossy(id), "queue.job.dropped: no bytes, or listed twice");
        }
    }
}

/// The last number of each incarnation. What is no number was put there by somebody else, and says nothing.
fn last_numbers(fields: &[Vec<u8>]) -> HashMap<Incarnation, u64> {
    let last = |field: &[Vec<u8>]| {
        let [id, last] = field else { return None };
        Some((Incarnation::new(str::from_utf8(id).ok()?), str::from_utf8(last).ok()?.parse().ok()?))
    };
    fields.chunks(2).filter_map(last).collect()
}

/// Whoever writes past the script that gives the numbers may call a job by those that are yet to be given, and their raw
/// events would then seem to have ended. Of an incarnation that Redis does not remember this says nothing.
fn is_ahead(first: &Stamp, count: u32, lasts: &HashMap<Incarnation, u64>) -> bool {
    lasts.get(&first.incarnation).is_some_and(|last| first.number + u64::from(count) - 1 > *last)
}
