//! Making one job many: the raw events of a job know nothing of each other. One of them may kill its worker, or wait for
//! another worker's claim, and that is no matter of the others.

use std::time::Duration;

use vocabulary::{Job, JobEntry, Stamp};

use super::{Held, HeldId, Inbound, job_id};
use crate::{RedisError, script};

impl Inbound {
    /// Makes a job of each raw event of this one, in its place, under the numbers that they have; their unclean starts are
    /// the job's. Does nothing, and says so, where there is nothing to take apart: one raw event, or some without numbers.
    /// A hold that was taken away leaves the job as it is for whoever has it now.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn take_apart(&self, held: &Held) -> Result<bool, RedisError> {
        let (Some(first), Ok(entries)) = (&held.first, Job::decode_each(&held.payload)) else { return Ok(false) };
        if entries.len() < 2 || entries.len() != held.count as usize {
            return Ok(false);
        }
        let mut call = script::TAKE_APART.key(self.keys.inflight(&held.id.worker));
        call.key(&self.keys.data).key(&self.keys.active);
        call.arg(&self.keys.meta_prefix).arg(&self.keys.channel).arg(held.id.job.as_ref());
        for (number, (entry, _)) in (first.number..).zip(entries).collect::<Vec<_>>().into_iter().rev() {
            call.arg(job_id::of(&first.incarnation, number, 1)).arg(Job { entries: vec![entry] }.encode());
        }
        call.invoke_async::<()>(&mut self.redis.connection().await?).await?;
        Ok(true)
    }

    /// Puts off what is left of a job of several raw events, each as a job of its own, and forgets the others, whose work is
    /// done. A hold that was taken away leaves the job as it is for whoever has it now.
    ///
    /// # Errors
    /// When Redis does not answer. Then all of it comes back, when the worker finds it stranded: that adds nothing twice.
    pub async fn defer_rest(
        &self,
        held: &HeldId,
        rest: Vec<(Stamp, JobEntry)>,
        delay: Duration,
    ) -> Result<(), RedisError> {
        let mut call = script::DEFER_REST.key(self.keys.inflight(&held.worker));
        call.key(&self.keys.data).key(&self.keys.scheduled);
        call.arg(&self.keys.meta_prefix).arg(held.job.as_ref());
        call.arg(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)).arg(&self.keys.channel);
        for (stamp, entry) in rest {
            call.arg(job_id::of(&stamp.incarnation, stamp.number, 1)).arg(Job { entries: vec![entry] }.encode());
        }
        call.invoke_async::<()>(&mut self.redis.connection().await?).await.map_err(RedisError::from)
    }
}
