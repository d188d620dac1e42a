//! The step and its loop.

use std::{error::Error, time::Duration};

use chrono::{DateTime, Utc};
use database::{
    AsyncPgConnection, Database,
    outbox::{self, Bounds, Waiting},
};
use diesel_async::AsyncConnection;
use fail::fail_point;
use producer::{BODY_LIMITS, Producer, ProducerSettings};
use queue::{Inbound, Redis, Snapshots};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{ForwardError, batch::Batch};

/// Enough that Redis's and Postgres's disks are asked once for many, few enough that a batch is short.
const ROWS: i64 = 500;
/// With the one body that is read beyond it, a push that Redis takes at once.
const BYTES: i64 = 4 << 20;
/// What Redis may take for a batch. Postgres ends a transaction that idles for five seconds (`database::Database`).
const HAND_OVER_WITHIN: Duration = Duration::from_secs(4);
/// After a batch something may follow at once; who finds nothing for longer looks less often.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Takes an outbox to the queue. Any number of them may.
pub struct Forwarder {
    outbox: Database,
    sources: Snapshots,
    inbound: Inbound,
    producer: Producer,
}

/// What a step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many rows are in the queue now, and so many were put aside.
    Forwarded {
        /// Enqueued, and gone from the outbox.
        rows: usize,
        /// Put aside with a reason.
        failed: usize,
    },
    /// There was nothing to do.
    Idle,
    /// Another forwarder is at it.
    Following,
}

impl Forwarder {
    /// A forwarder from `outbox` ([`Database::for_outbox`]) to the queue in `redis`.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn new(outbox: Database, redis: &Redis) -> Self {
        let settings = ProducerSettings { deadline: HAND_OVER_WITHIN, ..ProducerSettings::default() };
        Self {
            outbox,
            sources: Snapshots::new(redis),
            inbound: Inbound::new(redis),
            producer: Producer::new(redis, settings),
        }
    }

    /// One step: the one transaction, which ends with the rows of a batch deleted because the queue has them, or untouched.
    ///
    /// # Errors
    /// When either store is away, or Redis is filling up. What was in hand may have been enqueued.
    pub async fn forward(&self, now: DateTime<Utc>) -> Result<Step, ForwardError> {
        let mut connection = self.outbox.connection().await?;
        let step = connection.transaction(async |conn| self.forward_in(conn, now).await).await?;
        fail_point!("forwarder-after-commit");
        Ok(step)
    }

    async fn forward_in(&self, conn: &AsyncPgConnection, now: DateTime<Utc>) -> Result<Step, ForwardError> {
        if !outbox::lead(conn).await? {
            return Ok(Step::Following);
        }
        let rows = outbox::next(conn, bounds()).await?;
        if rows.is_empty() {
            return Ok(Step::Idle);
        }
        let late = Instant::now() + HAND_OVER_WITHIN;
        let batch = timeout_at(late, self.sort(rows, now)).await.map_err(|_| ForwardError::TooSlow)??;
        take_out(conn, &batch).await?;
        let enqueued = timeout_at(late, self.producer.enqueue_batch(&batch.raw_events));
        enqueued.await.map_err(|_| ForwardError::TooSlow)??;
        if let Some((id, reason)) = batch.failed.first() {
            let count = batch.failed.len();
            warn!(count, id, reason, "rows of the outbox cannot be forwarded: see latchhook outbox status");
        }
        fail_point!("forwarder-before-commit");
        Ok(Step::Forwarded { rows: batch.forwarded.len(), failed: batch.failed.len() })
    }

    /// What Redis is to take of it, if it has room.
    async fn sort(&self, rows: Vec<Waiting>, now: DateTime<Utc>) -> Result<Batch, ForwardError> {
        let directory = self.sources.directory().await?.ok_or(ForwardError::NoSources)?;
        if self.inbound.memory().await?.is_above_75_percent() {
            return Err(ForwardError::Filling);
        }
        Ok(Batch::sort(rows, &directory, now))
    }

    /// Says what no step would find out.
    async fn inspect(&self) -> Result<(), ForwardError> {
        for obstacle in outbox::obstacles(&*self.outbox.connection().await?).await? {
            warn!(obstacle, "rows of the outbox may be kept from the forwarder");
        }
        Ok(())
    }

    /// The step, over and over, until stopped. A batch that has begun is ended.
    pub async fn run(self, stop: CancellationToken) {
        let (mut pause, mut in_trouble, mut inspected) = (SHORTEST_PAUSE, false, false);
        while !stop.is_cancelled() {
            if !inspected {
                // Of what keeps it from asking, the step tells.
                inspected = self.inspect().await.is_ok();
            }
            let step = self.forward(Utc::now()).await;
            in_trouble = tell(&step, in_trouble);
            if let Ok(Step::Forwarded { .. }) = step {
                pause = SHORTEST_PAUSE;
            } else {
                stop.run_until_cancelled(sleep(pause)).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
        self.producer.close().await;
    }
}

/// Takes a batch out of what waits, before Redis is asked: who could not delete a row would enqueue it again and again.
async fn take_out(conn: &AsyncPgConnection, batch: &Batch) -> Result<(), ForwardError> {
    let Batch { forwarded, failed, .. } = batch;
    if let Some(&first) = forwarded.first() {
        let (rows, changed) = (forwarded.len(), outbox::delete(conn, forwarded).await?);
        if changed < rows {
            return Err(ForwardError::Withheld { done: "deleted", first, rows, changed });
        }
    }
    if let Some(&(first, _)) = failed.first() {
        let (rows, changed) = (failed.len(), outbox::put_aside(conn, failed).await?);
        if changed < rows {
            return Err(ForwardError::Withheld { done: "updated", first, rows, changed });
        }
    }
    Ok(())
}

/// Says once that it does not go on, and once that it does. Gives whether it does not.
fn tell(step: &Result<Step, ForwardError>, was_in_trouble: bool) -> bool {
    match step {
        Err(error) if !was_in_trouble => {
            warn!(error = error as &dyn Error, "the outbox is not forwarded; it goes on as soon as it can");
        }
        Ok(_) if was_in_trouble => info!("the outbox is forwarded again"),
        _ => {}
    }
    step.is_err()
}

/// Of a body that is larger than any source may take it is enough to know that it is.
fn bounds() -> Bounds {
    Bounds { rows: ROWS, bytes: BYTES, body: i32::try_from(*BODY_LIMITS.end()).unwrap_or(i32::MAX) }
}
