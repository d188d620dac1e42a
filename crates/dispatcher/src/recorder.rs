//! The recorder: writes down what came of attempts, whatever is there at about the same moment in one statement.
//!
//! It lingers a little before it writes. No delivery waits for that, and each statement has its price; a dispatcher that is
//! killed in between sends again what it had not written down, as it would have anyhow.
//!
//! It does not give up while Postgres is away: what is not recorded is sent again after its lease, with the same id, and a
//! customer's patience is worth more than ours. It sends with no transaction open and records with one that is short.

use std::{borrow::Borrow, collections::BTreeSet, sync::Arc, time::Duration};

use database::{
    Database, DatabaseError, QueryError, QueryResult, Trouble,
    attempts::{self, Recorded},
    due::Gate,
    endpoints::Target,
    lanes::{self, Lane},
};
use diesel_async::AsyncConnection;
use tokio::{
    sync::{Notify, mpsc::UnboundedReceiver},
    time::{sleep, timeout},
};
use tracing::{error, warn};

use crate::{
    back_off::BackOff,
    counters::{Counters, cause_of},
    desk::Desk,
    in_flight::Permit,
    outcome::Outcome,
    standing::{self, Followed},
};

/// Far below what anybody notices who looks at a delivery, and long enough for dozens of attempts under load.
pub(crate) const LINGER: Duration = Duration::from_millis(10);

/// How long what is in a lane that somebody holds is left before it is looked at again, where nothing else is recorded
/// meanwhile. Whoever adds to a lane holds it for milliseconds.
const HELD: Duration = Duration::from_millis(20);

/// What a task that sent a delivery hands over. The channel needs no bound: there are no more of these than permits.
pub(crate) struct Ended {
    pub(crate) recorded: Recorded,
    pub(crate) outcome: Outcome,
    /// Where it was sent.
    pub(crate) target: Arc<Target>,
    /// The gate of its endpoint, if that has one.
    pub(crate) gate: Option<Gate>,
    /// Whether its delivery had failed before, since it was last made due.
    pub(crate) failed_before: bool,
    /// Given back when this is dropped.
    pub(crate) _permit: Permit,
}

impl Borrow<Recorded> for Ended {
    fn borrow(&self) -> &Recorded {
        &self.recorded
    }
}

pub(crate) struct Recorder {
    pub(crate) database: Database,
    pub(crate) counters: Arc<Counters>,
    pub(crate) ended: UnboundedReceiver<Ended>,
    /// How many attempts one statement records.
    pub(crate) batch: usize,
    /// How long it waits for more, before it writes.
    pub(crate) linger: Duration,
    /// An endpoint that has done nothing but fail for so long is disabled.
    pub(crate) disable_after: Duration,
    pub(crate) desk: Desk,
    /// Notified when something that was recorded may make room for what was not leased for want of it.
    pub(crate) look: Arc<Notify>,
}

/// Why a batch is not recorded.
#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error("no connection")]
    Connect(#[from] DatabaseError),
    #[error("the statement failed")]
    Query(#[from] QueryError),
}

impl Recorder {
    /// Records until nobody can send any more. What is in a lane that somebody holds stays for the next round: no lane waits for
    /// another.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.gather(&mut batch).await {
            self.linger(&mut batch).await;
            let held = self.record(&mut batch).await;
            self.note(&batch).await;
            // The memory is kept: there is a batch each few milliseconds.
            batch.clear();
            batch.extend(held);
        }
    }

    /// Adds what has ended; nothing, after a moment, where something is held. Says whether there is anything to record: if not,
    /// that was all.
    async fn gather(&mut self, batch: &mut Vec<Ended>) -> bool {
        let is_held = !batch.is_empty();
        let coming = self.ended.recv_many(batch, self.batch);
        let came = if is_held { timeout(HELD, coming).await.unwrap_or(0) } else { coming.await };
        if came == 0 && is_held && self.ended.is_closed() {
            sleep(HELD).await;
        }
        !batch.is_empty()
    }

    /// What the attempts show of their endpoints.
    async fn note(&self, batch: &[Ended]) {
        match self.try_note(batch).await {
            Ok(followed) => {
                for (endpoint_id, reason) in &followed.disabled {
                    warn!(endpoint.id = %endpoint_id, "{endpoint_id} is disabled: {reason}");
                }
                self.desk.leave(&followed.left_alone);
            }
            Err(away) => warn!(
                error = &away as &dyn std::error::Error,
                "how endpoints stand cannot be noted; the next attempts will show it again"
            ),
        }
        if batch.iter().any(|ended| ended.gate.is_some() || ended.recorded.lane.is_some()) {
            self.look.notify_one();
        }
    }

    async fn try_note(&self, batch: &[Ended]) -> Result<Followed, RecordError> {
        if !standing::is_news(batch) {
            return Ok(Followed::default());
        }
        let mut connection = self.database.connection().await?;
        Ok(standing::note(&mut connection, batch, self.disable_after, &self.counters).await?)
    }

    /// Adds what comes within a moment, where there is room for more.
    async fn linger(&mut self, batch: &mut Vec<Ended>) {
        if batch.len() < self.batch {
            sleep(self.linger).await;
        }
        while batch.len() < self.batch
            && let Ok(ended) = self.ended.try_recv()
        {
            batch.push(ended);
        }
    }

    /// Leaves what is dealt with, and hands out what is in lanes that somebody holds.
    async fn record(&self, batch: &mut Vec<Ended>) -> Vec<Ended> {
        let dealt_with = match self.insist(batch).await {
            Ok(recorded) => recorded,
            Err(_) => self.one_by_one(batch).await,
        };
        let mut dealt_with = dealt_with.into_iter();
        batch.extract_if(.., |_| !dealt_with.next().unwrap_or(true)).collect()
    }

    /// Says of each whether it is dealt with: recorded, or refused for ever.
    async fn one_by_one(&self, batch: &[Ended]) -> Vec<bool> {
        let mut dealt_with = Vec::new();
        for ended in batch.chunks(1) {
            match self.insist(ended).await {
                Ok(recorded) => dealt_with.extend(recorded),
                Err(refused) => {
                    ended.iter().for_each(|ended| self.give_up(&ended.recorded, &refused));
                    dealt_with.push(true);
                }
            }
        }
        dealt_with
    }

    fn give_up(&self, one: &Recorded, refused: &RecordError) {
        self.counters.unrecorded.add(1);
        error!(
            endpoint.id = %one.endpoint_id,
            webhook.id = one.webhook_id,
            error = refused as &dyn std::error::Error,
            "Postgres refuses to record an attempt of {}; it will be sent again",
            one.webhook_id
        );
    }

    /// Tries until Postgres has it, but for what is in lanes that somebody holds. Says of each whether it is recorded. Fails only
    /// for what would fail again.
    async fn insist(&self, batch: &[Ended]) -> Result<Vec<bool>, RecordError> {
        let mut back_off = BackOff::default();
        loop {
            match self.try_record(batch).await {
                Ok(recorded) => return Ok(recorded),
                Err(RecordError::Query(refused)) if database::trouble(&refused) == Trouble::Work => {
                    return Err(refused.into());
                }
                Err(away) => {
                    error!(
                        attempts = batch.len(),
                        error = &away as &dyn std::error::Error,
                        "{} attempts cannot be recorded yet",
                        batch.len()
                    );
                    sleep(back_off.next()).await;
                }
            }
        }
    }

    async fn try_record(&self, batch: &[Ended]) -> Result<Vec<bool>, RecordError> {
        let mut connection = self.database.connection().await?;
        let lanes: BTreeSet<_> = batch.iter().filter_map(|ended| lane_of(&ended.recorded)).collect();
        let (recorded, abandoned) = if lanes.is_empty() {
            let abandoned = attempts::record(&connection, batch).await?;
            (vec![true; batch.len()], abandoned.into_iter().map(cause_of).collect::<Vec<_>>())
        } else {
            let recording = connection.transaction(async |conn| {
                let free = lanes::try_lock(conn, &lanes).await?;
                let is_free = |one: &Recorded| lane_of(one).is_none_or(|lane| free.contains(&lane));
                let ready: Vec<_> = batch.iter().map(|ended| &ended.recorded).filter(|one| is_free(one)).collect();
                let abandoned = attempts::record(conn, &ready).await?;
                lanes::promote(conn, &free).await?;
                let recorded = batch.iter().map(|ended| is_free(&ended.recorded)).collect();
                QueryResult::Ok((recorded, abandoned.into_iter().map(cause_of).collect()))
            });
            recording.await?
        };
        self.counters.records.add(1);
        self.counters.recorded.add(recorded.iter().filter(|recorded| **recorded).count());
        abandoned.into_iter().for_each(|cause| self.counters.count_abandoned(cause));
        Ok(recorded)
    }
}

fn lane_of(one: &Recorded) -> Option<Lane<'_>> {
    Some((one.endpoint_id.as_str(), one.lane.as_deref()?))
}
