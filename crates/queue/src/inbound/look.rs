//! Looking at the queue, for `audit`, `doctor` and the metrics. Nothing here changes anything.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use redis::aio::MultiplexedConnection;
use vocabulary::{Incarnation, Job, Stamp};

use super::{CHUNK, Inbound, parse_job_id};
use crate::{Memory, RedisError, script};

/// How many jobs are where, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Waiting for a worker.
    pub ready: u64,
    /// Deferred.
    pub scheduled: u64,
    /// In the hands of workers.
    pub inflight: u64,
    /// In apalis's dead set. Put back at the next beat of any worker.
    pub dead: u64,
    /// In Redis, but in none of these places, so that nothing will ever work on them. Never seen; a breach if it is.
    pub unreachable: u64,
}

impl Depth {
    /// How many jobs are in Redis, wherever.
    pub fn all(&self) -> u64 {
        self.ready + self.scheduled + self.inflight + self.dead + self.unreachable
    }
}

/// What a job that is not settled yet is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PendingJob {
    /// Who gave its numbers.
    pub incarnation: Incarnation,
    /// Its first number.
    pub first: u64,
    /// How many follow each other, the first included.
    pub count: u32,
}

/// A worker that holds jobs and no longer beats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadWorker {
    /// Its name.
    pub name: String,
    /// How many jobs it holds.
    pub holds: u64,
    /// How long ago it beat for the last time; `None` when it is not even registered, and no worker will recover its
    /// jobs.
    pub silent_for: Option<Duration>,
}

impl Inbound {
    /// How many jobs are where.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn depth(&self) -> Result<Depth, RedisError> {
        let mut call = script::DEPTH.key(&self.keys.active);
        call.key(&self.keys.scheduled).key(&self.keys.dead).key(&self.keys.data).key(&self.keys.workers);
        call.arg(&self.keys.inflight_prefix);
        let (ready, scheduled, inflight, dead, all): (u64, u64, u64, u64, u64) =
            call.invoke_async(&mut self.redis.connection().await?).await?;
        let unreachable = all.saturating_sub(ready + scheduled + inflight + dead);
        Ok(Depth { ready, scheduled, inflight, dead, unreachable })
    }

    /// How full Redis is.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn memory(&self) -> Result<Memory, RedisError> {
        self.redis.memory().await
    }

    /// The last number of every incarnation that Redis remembers. (A flushed Redis remembers none; the receipts do.)
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn last_numbers(&self) -> Result<Vec<(Incarnation, u64)>, RedisError> {
        let mut call = script::LAST_NUMBERS.key(&self.keys.incarnation);
        call.key(&self.keys.incarnations);
        let lasts: HashMap<String, u64> = call.invoke_async(&mut self.redis.connection().await?).await?;
        Ok(lasts.into_iter().map(|(id, last)| (Incarnation::new(&id), last)).collect())
    }

    /// The numbers of all jobs that are not settled, by name alone. Complete for what is there from the first page to
    /// the last; what is settled or enqueued meanwhile may be in it or not. Replays and foreign jobs have no numbers.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn pending(&self) -> Result<Vec<PendingJob>, RedisError> {
        let mut pending = Vec::new();
        self.each_name(&mut self.redis.connection().await?, |id| {
            pending.extend(parse_job_id(&id).map(|(first, count)| PendingJob {
                incarnation: first.incarnation,
                first: first.number,
                count,
            }));
        })
        .await?;
        // A page may repeat what an earlier one held.
        pending.sort_unstable();
        pending.dedup();
        Ok(pending)
    }

    /// The names of the raw events that jobs without numbers carry: replays, and what others have put in.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn pending_unnumbered(&self) -> Result<Vec<Stamp>, RedisError> {
        let mut connection = self.redis.connection().await?;
        let mut ids = Vec::new();
        self.each_name(&mut connection, |id| ids.extend(Some(id).filter(|id| parse_job_id(id).is_none()))).await?;
        let mut stamps = Vec::new();
        for id in ids {
            let bytes: Option<Vec<u8>> =
                redis::cmd("HGET").arg(&self.keys.data).arg(&id).query_async(&mut connection).await?;
            let entries = Job::decode_each(&bytes.unwrap_or_default().into()).unwrap_or_default();
            let foreign = Incarnation::foreign(&id);
            stamps.extend(entries.into_iter().zip(1..).map(|((entry, _), number)| match entry.replay {
                Some(replay) => replay.stamp,
                None => Stamp { incarnation: foreign.clone(), number },
            }));
        }
        Ok(stamps)
    }

    /// The names of up to so many jobs of [`Depth::dead`] and [`Depth::unreachable`]. Jobs move while they are looked for,
    /// so a name may be missing, and with many at work one may be wrong; the counts are exact.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn lost(&self, limit: usize) -> Result<Vec<String>, RedisError> {
        let mut connection = self.redis.connection().await?;
        let mut names: Vec<Vec<u8>> = Vec::new();
        self.each_name(&mut connection, |id| names.push(id)).await?;
        let mut within_reach: HashSet<Vec<u8>> = HashSet::new();
        let workers: Vec<String> =
            redis::cmd("ZRANGE").arg(&self.keys.workers).arg(0).arg(-1).query_async(&mut connection).await?;
        // Twice, because what moves from a place not yet read to one that was read is seen the second time.
        for _ in 0..2 {
            for worker in &workers {
                let inflight = redis::cmd("SMEMBERS").arg(self.keys.inflight(worker)).to_owned();
                within_reach.extend(inflight.query_async::<Vec<Vec<u8>>>(&mut connection).await?);
            }
            for (command, key) in [("ZRANGE", &self.keys.scheduled), ("LRANGE", &self.keys.active)] {
                let place = redis::cmd(command).arg(key).arg(0).arg(-1).to_owned();
                within_reach.extend(place.query_async::<Vec<Vec<u8>>>(&mut connection).await?);
            }
        }
        names.retain(|id| !within_reach.contains(id));
        let dead = redis::cmd("SRANDMEMBER").arg(&self.keys.dead).arg(limit).to_owned();
        names.extend(dead.query_async::<Vec<Vec<u8>>>(&mut connection).await?);
        names.sort_unstable();
        names.dedup();
        Ok(names.iter().take(limit).map(|id| String::from_utf8_lossy(id).into_owned()).collect())
    }

    /// Every job's name, a page at a time; some of them twice.
    async fn each_name(
        &self,
        connection: &mut MultiplexedConnection,
        mut take: impl FnMut(Vec<u8>),
    ) -> Result<(), RedisError> {
        let mut cursor = "0".to_owned();
        loop {
            let mut call = script::PENDING.key(&self.keys.data);
            let (next, ids): (String, Vec<Vec<u8>>) = call.arg(&cursor).arg(CHUNK).invoke_async(connection).await?;
            ids.into_iter().for_each(&mut take);
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Who holds jobs and has not beaten for `silence` (a lease, for a fleet of one setting).
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn dead_workers(&self, silence: Duration) -> Result<Vec<DeadWorker>, RedisError> {
        let mut connection = self.redis.connection().await?;
        let (now, beats): ((f64, f64), HashMap<String, f64>) =
            redis::pipe().cmd("TIME").zrange_withscores(&self.keys.workers, 0, -1).query_async(&mut connection).await?;
        let mut dead = Vec::new();
        for name in self.holders(&mut connection).await? {
            let beat = beats.get(&name);
            let silent_for = beat.map(|beat| Duration::from_secs_f64((now.0 + now.1 / 1e6 - beat).max(0.0)));
            if silent_for.is_none_or(|silent| silent > silence) {
                let holds = redis::cmd("SCARD").arg(self.keys.inflight(&name)).query_async(&mut connection).await?;
                dead.push(DeadWorker { name, holds, silent_for });
            }
        }
        Ok(dead)
    }

    /// Every worker that holds a job, registered or not. Walks all keys, page by page.
    async fn holders(&self, connection: &mut MultiplexedConnection) -> Result<Vec<String>, RedisError> {
        let (mut names, mut cursor) = (Vec::new(), "0".to_owned());
        let prefix = self.keys.inflight("");
        let pattern = format!("{prefix}*");
        loop {
            let mut page = redis::cmd("SCAN");
            page.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(CHUNK);
            let (next, keys): (String, Vec<String>) = page.query_async(connection).await?;
            names.extend(keys.iter().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned));
            if next == "0" {
                break;
            }
            cursor = next;
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }
}
