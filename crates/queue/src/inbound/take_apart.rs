//! Making one job many: the raw events of a job know nothing of each other, and one of them may kill its worker.

use vocabulary::Job;

use super::{Held, Inbound, job_id};
use crate::{RedisError, script};

impl Inbound {
    /// Makes a job of each raw event of this one, in its place, under the numbers that they have; their unclean starts are
    /// the job's. Does nothing, and says so, where there is nothing to take apart: one raw event, or some without numbers.
    /// A hold that was taken away leaves the job as it is for whoever has it now.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn take_apart(&self, held: &Held) -> Result<bool, RedisError> {
        let (Some(first), Ok(job)) = (&held.first, Job::decode(&held.payload)) else { return Ok(false) };
        if job.entries.len() < 2 || job.entries.len() != held.count as usize {
            return Ok(false);
        }
        let mut call = script::TAKE_APART.key(self.keys.inflight(&held.id.worker));
        call.key(&self.keys.data).key(&self.keys.active);
        call.arg(&self.keys.meta_prefix).arg(&self.keys.channel).arg(held.id.job.as_ref());
        for (number, entry) in (first.number..).zip(job.entries).collect::<Vec<_>>().into_iter().rev() {
            call.arg(job_id::of(&first.incarnation, number, 1)).arg(Job { entries: vec![entry] }.encode());
        }
        call.invoke_async::<()>(&mut self.redis.connection().await?).await?;
        Ok(true)
    }
}
