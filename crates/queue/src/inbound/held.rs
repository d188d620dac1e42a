//! A job in a worker's hands, and the ways out of them.

use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use vocabulary::{Incarnation, Stamp};

use super::{CHUNK, Inbound};
use crate::{RedisError, consume::jittered, script};

/// A job as it was fetched. What its bytes are, the worker finds out: nothing here depends on it.
#[derive(Debug, Clone)]
pub struct Held {
    /// What settles or defers it.
    pub id: HeldId,
    /// The bytes as they were enqueued ([`vocabulary::Job::decode`]).
    pub payload: Bytes,
    /// The stamp of its first new raw event; the others follow. `None` when it has none (a replay), or is not ours.
    pub first: Option<Stamp>,
    /// How many new raw events it carries; 0 without stamps.
    pub count: u32,
    /// How often a worker died that held it, or panicked over it.
    pub unclean_starts: u32,
    /// How often of these it ran alone ([`Inbound::start_alone`]): then nothing else can have been the cause.
    pub unclean_alone: u32,
    /// How long ago it was deferred for the first time, by Redis's clock; `None` if it never was.
    pub deferred_for: Option<Duration>,
}

/// One worker's hold on one job. A hold that was taken away settles nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HeldId {
    pub(crate) job: Bytes,
    pub(crate) worker: Arc<str>,
}

impl HeldId {
    /// The job's name.
    pub fn job(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.job)
    }

    /// The incarnation of its raw events, if nobody has stamped them.
    pub fn as_incarnation(&self) -> Incarnation {
        Incarnation::foreign(&self.job)
    }

    /// The worker's name.
    pub fn worker(&self) -> &str {
        &self.worker
    }
}

impl fmt::Display for HeldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.job())
    }
}

/// What became of the holds that were to be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Jobs that are gone from Redis now.
    pub settled: usize,
    /// Jobs that had been taken away, and will run again elsewhere. The ledger makes that harmless.
    pub taken_away: usize,
}

impl Inbound {
    /// Forgets jobs whose work is done: committed, duplicate or quarantined.
    ///
    /// # Errors
    /// When Redis does not answer. Some may have been settled; settling again is harmless.
    pub async fn settle(&self, held: &[HeldId]) -> Result<Settled, RedisError> {
        let mut settled = 0;
        for (worker, jobs) in by_worker(held.iter().map(|id| (id, ()))) {
            for chunk in jobs.chunks(CHUNK) {
                let mut call = script::SETTLE.key(self.keys.inflight(worker));
                call.key(&self.keys.data).arg(&self.keys.meta_prefix);
                for (job, ()) in chunk {
                    call.arg(job.as_ref());
                }
                settled += call.invoke_async::<usize>(&mut self.redis.connection().await?).await?;
            }
        }
        Ok(Settled { settled, taken_away: held.len() - settled })
    }

    /// Says, before a job is opened, that nothing else runs beside it. If its worker dies now, or panics, that counts as an
    /// unclean start alone; settling it, deferring it and giving it back take the word back. False when the hold was taken
    /// away.
    ///
    /// # Errors
    /// When Redis does not answer. Then it must not run: if it kills its process again, nobody will know.
    pub async fn start_alone(&self, held: &HeldId) -> Result<bool, RedisError> {
        let mut call = script::START_ALONE.key(self.keys.inflight(&held.worker));
        call.arg(&self.keys.meta_prefix).arg(held.job.as_ref());
        Ok(call.invoke_async(&mut self.redis.connection().await?).await?)
    }

    /// Puts jobs off for a while each, to the millisecond. Holds that were taken away are left alone.
    ///
    /// # Errors
    /// When Redis does not answer. Some may have been deferred; the others come back when the worker finds them
    /// stranded.
    pub async fn defer(&self, held: &[(HeldId, Duration)]) -> Result<(), RedisError> {
        self.put_off(held.iter().map(|(id, delay)| (id, *delay)), false).await
    }

    /// Puts jobs off for 1–2 s over which a process panicked that goes on: an unclean start, as if it had died.
    ///
    /// # Errors
    /// As [`Inbound::defer`].
    pub async fn defer_panicked(&self, held: &[HeldId]) -> Result<(), RedisError> {
        self.put_off(held.iter().map(|id| (id, jittered(Duration::from_secs(1)))), true).await
    }

    async fn put_off<'a>(
        &self,
        held: impl Iterator<Item = (&'a HeldId, Duration)>,
        panicked: bool,
    ) -> Result<(), RedisError> {
        for (worker, jobs) in by_worker(held) {
            for chunk in jobs.chunks(CHUNK) {
                let mut call = script::DEFER.key(self.keys.inflight(worker));
                call.key(&self.keys.scheduled)
                    .arg(&self.keys.meta_prefix)
                    .arg(u8::from(panicked))
                    .arg(&self.keys.channel);
                for (job, delay) in chunk {
                    call.arg(job.as_ref()).arg(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
                }
                call.invoke_async::<()>(&mut self.redis.connection().await?).await?;
            }
        }
        Ok(())
    }
}

/// A group may hold jobs of several lives of a worker, and a script speaks for one.
fn by_worker<'a, T>(held: impl Iterator<Item = (&'a HeldId, T)>) -> HashMap<&'a str, Vec<(&'a Bytes, T)>> {
    let mut by_worker: HashMap<&str, Vec<_>> = HashMap::new();
    for (id, with) in held {
        by_worker.entry(&id.worker).or_default().push((&id.job, with));
    }
    by_worker
}
