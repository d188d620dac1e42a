//! Putting jobs in.

use vocabulary::{Incarnation, Job, JobEntry, Stamp};

use super::{Inbound, job_id};
use crate::{RedisError, script};

/// Why nothing was enqueued.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// Redis is full, and throws nothing away.
    #[error("Redis is full: give it more memory, or let the workers empty it")]
    Full(#[source] RedisError),
    /// Redis is down, or did not answer in time. In the second case it may hold the jobs all the same.
    #[error("the inbound queue is unavailable")]
    Unavailable(#[source] RedisError),
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
        let jobs: Vec<&Job> = jobs.iter().filter(|job| !job.entries.is_empty()).collect();
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let (incarnation, firsts) = self.run_enqueue(&jobs).await?;
        let incarnation = Incarnation::new(&incarnation);
        if let Some(last) =
            jobs.iter().zip(&firsts).filter_map(|(job, first)| (first + count_new(job)).checked_sub(1)).max()
        {
            self.remember(&incarnation, last).await;
        }
        let numbers = jobs.iter().zip(firsts).flat_map(|(job, first)| first..first + count_new(job));
        Ok(numbers.map(|number| Stamp { incarnation: incarnation.clone(), number }).collect())
    }

    /// Makes one raw event, or one item of it, ready again under the stamp that it had.
    ///
    /// # Errors
    /// When Redis is full, or does not answer.
    pub async fn replay(&self, entry: JobEntry) -> Result<(), EnqueueError> {
        self.enqueue(&[Job { entries: vec![entry] }]).await.map(drop)
    }

    async fn run_enqueue(&self, jobs: &[&Job]) -> Result<(String, Vec<u64>), RedisError> {
        let mut call = script::ENQUEUE.key(&self.keys.active);
        call.key(&self.keys.data).key(&self.keys.incarnation).key(&self.keys.incarnations);
        call.arg("jobs");
        for job in jobs {
            call.arg(count_new(job)).arg(job_id::for_replay()).arg(job.encode());
        }
        Ok(call.invoke_async(&mut self.redis.connection().await?).await?)
    }
}

fn count_new(job: &Job) -> u64 {
    job.entries.iter().filter(|entry| entry.replay.is_none()).count() as u64
}
