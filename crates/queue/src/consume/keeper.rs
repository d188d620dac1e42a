//! Keeps a life alive, and puts right what others left behind.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{ConsumerSettings, holding::Holding};
use crate::{
    Inbound, RedisError,
    inbound::{CHUNK, HeldId},
    script,
};

/// A worker that is not ours, and so has no lease in its metadata, may be silent for so long: apalis-redis's own
/// default.
const STRANGERS_LEASE: Duration = Duration::from_secs(300);

/// The keeping half of a life.
pub(super) struct Keeper {
    pub(super) inbound: Inbound,
    pub(super) settings: ConsumerSettings,
    pub(super) worker: Arc<str>,
    pub(super) holding: Holding,
    pub(super) over: CancellationToken,
    /// Ours in Redis but not in memory, a beat ago.
    pub(super) suspects: HashSet<Bytes>,
}

impl Keeper {
    /// A pause, then a step, for as long as it is let.
    pub(super) async fn run(mut self) {
        loop {
            tokio::time::sleep(self.settings.lease / 3).await;
            if let Err(error) = self.step().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "queue.beat.failed");
            }
        }
    }

    async fn step(&mut self) -> Result<(), RedisError> {
        if !beat(&self.inbound, &self.worker, self.settings.lease, false).await? {
            self.over.cancel();
            return Ok(());
        }
        self.hand_back_stranded().await?;
        self.recover_the_dead().await?;
        self.put_back().await
    }

    /// Jobs that are ours in Redis, and were in nobody's hands at two beats in a row. One beat is not enough: a fetch
    /// may be on its way.
    async fn hand_back_stranded(&mut self) -> Result<(), RedisError> {
        let mut connection = self.inbound.redis.connection().await?;
        let inflight = self.inbound.keys.inflight(&self.worker);
        let held: Vec<Vec<u8>> = redis::cmd("SMEMBERS").arg(&inflight).query_async(&mut connection).await?;
        let missing = self.holding.missing(held.into_iter().map(Bytes::from));
        let stranded: Vec<&Bytes> = missing.intersection(&self.suspects).collect();
        for chunk in stranded.chunks(CHUNK) {
            let mut call = script::HAND_BACK.key(&inflight);
            call.key(&self.inbound.keys.active).arg(&self.inbound.keys.channel).arg(&self.inbound.keys.meta_prefix);
            for job in chunk {
                call.arg(job.as_ref());
            }
            let back: usize = call.invoke_async(&mut connection).await?;
            tracing::warn!(jobs = back, "queue.jobs.stranded");
            self.inbound.counters.stranded.add(back);
        }
        self.suspects = missing;
        Ok(())
    }

    async fn recover_the_dead(&self) -> Result<(), RedisError> {
        let keys = &self.inbound.keys;
        let mut connection = self.inbound.redis.connection().await?;
        loop {
            let mut call = script::RECOVER.key(&keys.workers);
            call.key(&keys.active).arg(&keys.inflight_prefix).arg(&keys.metadata_prefix).arg(&keys.meta_prefix);
            call.arg(&keys.channel).arg(STRANGERS_LEASE.as_millis() as u64).arg(CHUNK);
            let Some((dead, jobs)) = call.invoke_async::<Option<(String, usize)>>(&mut connection).await? else {
                return Ok(());
            };
            tracing::warn!(worker.name = dead, jobs, "queue.worker.dead");
            self.inbound.counters.recovered.add(jobs);
        }
    }

    async fn put_back(&self) -> Result<(), RedisError> {
        let keys = &self.inbound.keys;
        let mut call = script::PUT_BACK.key(&keys.dead);
        call.key(&keys.active).key(&keys.data).arg(&keys.meta_prefix).arg(&keys.channel).arg(CHUNK);
        let back: usize = call.invoke_async(&mut self.inbound.redis.connection().await?).await?;
        if back > 0 {
            tracing::error!(jobs = back, "queue.jobs.dead: found in apalis's dead set, and made ready again");
            self.inbound.counters.put_back.add(back);
        }
        Ok(())
    }
}

/// Registers a worker, or says that it lives. False when it is not registered any more.
pub(super) async fn beat(inbound: &Inbound, worker: &str, lease: Duration, is_first: bool) -> Result<bool, RedisError> {
    let mut call = script::BEAT.key(&inbound.keys.workers);
    call.key(inbound.keys.metadata(worker)).arg(worker).arg(lease.as_millis() as u64).arg(u8::from(is_first));
    Ok(call.invoke_async(&mut inbound.redis.connection().await?).await?)
}

/// Gives back what a worker still holds, to the last job, and forgets the worker.
pub(super) async fn leave(inbound: &Inbound, worker: &str) -> Result<(), RedisError> {
    let keys = &inbound.keys;
    let mut connection = inbound.redis.connection().await?;
    let mut call = script::LEAVE.key(keys.inflight(worker));
    call.key(&keys.active).key(&keys.workers).key(keys.metadata(worker));
    call.arg(&keys.channel).arg(worker).arg(CHUNK).arg(&keys.meta_prefix);
    while call.invoke_async::<usize>(&mut connection).await? == CHUNK {}
    Ok(())
}

/// Defers a job whose handler panicked, if Redis lets us; else it is found stranded.
pub(super) async fn defer_panicked(inbound: &Inbound, id: HeldId) {
    if let Err(error) = inbound.defer_panicked(&[id]).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "queue.defer.failed");
    }
}
