//! The recorder: writes down what came of attempts, whatever is there at about the same moment in one statement.
//!
//! It lingers a little before it writes. No delivery waits for that, and each statement has its price; a dispatcher that is
//! killed in between sends again what it had not written down, as it would have anyhow.
//!
//! It does not give up while Postgres is away: what is not recorded is sent again after its lease, with the same id, and a
//! customer's patience is worth more than ours. It sends with no transaction open and records with one that is short.

use std::{sync::Arc, time::Duration};

use database::{
    Database, DatabaseError, QueryError, Trouble,
    attempts::{self, Recorded},
};
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::error;

use crate::{back_off::BackOff, counters::Counters, in_flight::Permit};

/// Far below what anybody notices who looks at a delivery, and long enough for dozens of attempts under load.
const LINGER: Duration = Duration::from_millis(10);

/// What a task that sent a delivery hands over. The channel needs no bound: there are no more of these than permits.
pub(crate) struct Ended {
    pub(crate) recorded: Recorded,
    pub(crate) permit: Permit,
}

pub(crate) struct Recorder {
    pub(crate) database: Database,
    pub(crate) counters: Arc<Counters>,
    pub(crate) ended: UnboundedReceiver<Ended>,
    /// How many attempts one statement records.
    pub(crate) batch: usize,
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
            let (recorded, permits): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|ended| (ended.recorded, ended.permit)).unzip();
            self.record(&recorded).await;
            drop::<Vec<Permit>>(permits);
        }
    }

    /// Adds what comes within a moment, where there is room for more.
    async fn linger(&mut self, batch: &mut Vec<Ended>) {
        if batch.len() < self.batch {
            tokio::time::sleep(LINGER).await;
        }
        while batch.len() < self.batch
            && let Ok(ended) = self.ended.try_recv()
        {
            batch.push(ended);
        }
    }

    async fn record(&self, batch: &[Recorded]) {
        if self.insist(batch).await.is_ok() {
            return;
        }
        for one in batch {
            if let Err(refused) = self.insist(std::slice::from_ref(one)).await {
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
    async fn insist(&self, batch: &[Recorded]) -> Result<(), RecordError> {
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

    async fn try_record(&self, batch: &[Recorded]) -> Result<(), RecordError> {
        let connection = self.database.connection().await?;
        attempts::record(&connection, batch).await?;
        self.counters.records.add(1);
        self.counters.recorded.add(batch.len());
        Ok(())
    }
}
