//! Putting jobs in.

use vocabulary::{Incarnation, Job, JobEntry, Once, Stamp};

use super::{Inbound, job_id};
use crate::{RedisError, script};

/// How long a key is known at least, unless the source has used [`MOST_KEYS`] others meanwhile.
const DAY_SECONDS: u32 = 24 * 3600;
/// With up to 160 bytes a key in each of two generations: 64 MiB a source.
const MOST_KEYS: u32 = 200_000;

/// Why nothing was enqueued.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// Redis is full, and throws nothing away.
    #[error("Redis is full: give it more memory, or let the workers empty it")]
    Full(#[source] RedisError),
    /// Redis is down, or did not answer in time. In the second case it may hold the jobs all the same.
    #[error("the inbound queue is unavailable")]
    Unavailable(#[source] RedisError),
    /// Another request was sent under the same key.
    #[error("the key was used for another request: take a new one for each request")]
    KeyReused,
}

impl From<RedisError> for EnqueueError {
    fn from(error: RedisError) -> Self {
        if error.is_full() { Self::Full(error) } else { Self::Unavailable(error) }
    }
}

impl Inbound {
    /// Makes jobs ready, all or none, and returns the stamp of every new raw event in order (replays have theirs
    /// already).
    ///
    /// `Ok` means that Redis has them. Jobs without raw events are nothing, and are left out.
    ///
    /// # Errors
    /// When Redis is full, or does not answer.
    pub async fn enqueue(&self, jobs: &[Job]) -> Result<Vec<Stamp>, EnqueueError> {
        self.enqueue_under(jobs, None).await
    }

    /// Likewise, unless the same request was sent before under the same key: then nothing is made ready, and these are the
    /// stamps that it was given then. The key is taken in the step that makes the jobs ready, and is known for 24 hours, or
    /// until its source has used 200,000 others.
    ///
    /// The jobs carry new raw events only, each of them at least one: what is a replay has a name already.
    ///
    /// # Errors
    /// As [`Inbound::enqueue`], and when another request was sent under the key.
    pub async fn enqueue_once(&self, jobs: &[Job], once: &Once) -> Result<Vec<Stamp>, EnqueueError> {
        self.enqueue_under(jobs, Some(once)).await
    }

    async fn enqueue_under(&self, jobs: &[Job], once: Option<&Once>) -> Result<Vec<Stamp>, EnqueueError> {
        let jobs: Vec<&Job> = jobs.iter().filter(|job| !job.entries.is_empty()).collect();
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let (outcome, incarnation, firsts) = self.run_enqueue(&jobs, once).await?;
        let incarnation = Incarnation::new(&incarnation);
        let stamped = |number| Stamp { incarnation: incarnation.clone(), number };
        match outcome.as_str() {
            "enqueued" => {
                self.remember_last(&incarnation, &jobs, &firsts).await;
                let numbers = jobs.iter().zip(firsts).flat_map(|(job, first)| first..first + count_new(job));
                Ok(numbers.map(stamped).collect())
            }
            // The script gave them one after the other.
            "known" => Ok((firsts[0]..).take(jobs.iter().map(|job| job.entries.len()).sum()).map(stamped).collect()),
            _ => Err(EnqueueError::KeyReused),
        }
    }

    async fn remember_last(&self, incarnation: &Incarnation, jobs: &[&Job], firsts: &[u64]) {
        let lasts = jobs.iter().zip(firsts).filter_map(|(job, first)| (first + count_new(job)).checked_sub(1));
        if let Some(last) = lasts.max() {
            self.remember(incarnation, last).await;
        }
    }

    /// Makes one raw event, or one item of it, ready again under the stamp that it had.
    ///
    /// # Errors
    /// When Redis is full, or does not answer.
    pub async fn replay(&self, entry: JobEntry) -> Result<(), EnqueueError> {
        self.enqueue(&[Job { entries: vec![entry] }]).await.map(drop)
    }

    async fn run_enqueue(&self, jobs: &[&Job], once: Option<&Once>) -> Result<(String, String, Vec<u64>), RedisError> {
        let mut call = script::ENQUEUE.key(&self.keys.active);
        call.key(&self.keys.data).key(&self.keys.incarnation).key(&self.keys.incarnations);
        if let Some(once) = once {
            let newer = format!("{}:{}", self.keys.once_prefix, once.source_id());
            call.key(&newer).key(format!("{newer}:before"));
        }
        let (key, request) = once.map_or_else(Default::default, |once| (once.key(), once.request()));
        call.arg("jobs").arg(key).arg(request).arg(DAY_SECONDS).arg(MOST_KEYS);
        for job in jobs {
            let count = count_new(job);
            // The script names what it numbers.
            call.arg(count).arg((count == 0).then(job_id::for_replay).unwrap_or_default()).arg(job.encode());
        }
        Ok(call.invoke_async(&mut self.redis.connection().await?).await?)
    }
}

fn count_new(job: &Job) -> u64 {
    job.entries.iter().filter(|entry| entry.replay.is_none()).count() as u64
}
