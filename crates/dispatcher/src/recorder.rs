//! The recorder: writes down what came of attempts, whatever is there at about the same moment in one statement.
//!
//! It lingers a little before it writes. No delivery waits for that, and each statement has its price; a dispatcher that is
//! killed in between sends again what it had not written down, as it would have anyhow.
//!
//! It does not give up while Postgres is away: what is not recorded is sent again after its lease, with the same id, and a
//! customer's patience is worth more than ours. It sends with no transaction open and records with one that is short.

use std::{borrow::Borrow, collections::BTreeSet, sync::Arc, time::Duration};

use database::{
    Database, DatabaseError, QueryError, Trouble,
    attempts::{self, Recorded},
    due::Gate,
    lanes::{self, Lane},
};
use diesel_async::AsyncConnection;
use tokio::sync::{Notify, mpsc::UnboundedReceiver};
use tracing::{error, warn};

use crate::{
    back_off::BackOff,
    counters::Counters,
    desk::Desk,
    in_flight::Permit,
    outcome::Outcome,
    standing::{self, Followed},
};

/// Far below what anybody notices who looks at a delivery, and long enough for dozens of attempts under load.
pub(crate) const LINGER: Duration = Duration::from_millis(10);

/// What a task that sent a delivery hands over. The channel needs no bound: there are no more of these than permits.
pub(crate) struct Ended {
    pub(crate) recorded: Recorded,
    pub(crate) outcome: Outcome,
    /// The gate of its endpoint, if that has one.
    pub(crate) gate: Option<Gate>,
    /// Whether its delivery had failed before.
    pub(crate) is_retry: bool,
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
    /// Records until nobody can send any more.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.ended.recv_many(&mut batch, self.batch).await > 0 {
            self.linger(&mut batch).await;
            self.record(&batch).await;
            self.note(&batch).await;
            batch.clear();
        }
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
            tokio::time::sleep(self.linger).await;
        }
        while batch.len() < self.batch
            && let Ok(ended) = self.ended.try_recv()
        {
            batch.push(ended);
        }
    }

    async fn record(&self, batch: &[Ended]) {
        if self.insist(batch).await.is_ok() {
            return;
        }
        for ended in batch {
            let one = &ended.recorded;
            if let Err(refused) = self.insist(std::slice::from_ref(ended)).await {
                self.counters.unrecorded.add(1);
                error!(
                    endpoint.id = %one.endpoint_id,
                    webhook.id = one.webhook_id,
                    error = &refused as &dyn std::error::Error,
                    "Postgres refuses to record an attempt of {}; it will be sent again",
                    one.webhook_id
                );
            }
        }
    }

    /// Tries until Postgres has it. Fails only for what would fail again.
    async fn insist(&self, batch: &[Ended]) -> Result<(), RecordError> {
        let mut back_off = BackOff::default();
        loop {
            match self.try_record(batch).await {
                Ok(()) => return Ok(()),
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
                    tokio::time::sleep(back_off.next()).await;
                }
            }
        }
    }

    async fn try_record(&self, batch: &[Ended]) -> Result<(), RecordError> {
        let mut connection = self.database.connection().await?;
        let lanes = lanes_of(batch);
        if lanes.is_empty() {
            attempts::record(&connection, batch).await?;
        } else {
            let recording = connection.transaction(async |conn| {
                lanes::lock(conn, &lanes).await?;
                attempts::record(conn, batch).await?;
                lanes::promote(conn, &lanes).await
            });
            recording.await?;
        }
        self.counters.records.add(1);
        self.counters.recorded.add(batch.len());
        Ok(())
    }
}

fn lanes_of(batch: &[Ended]) -> BTreeSet<Lane<'_>> {
    lanes::of(batch.iter().map(|ended| (ended.recorded.endpoint_id.as_str(), ended.recorded.lane.as_deref())))
}
