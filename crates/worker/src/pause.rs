//! The break that workers take while Postgres is away: nothing is fetched, so nothing fails and no attempt is counted.

use std::{sync::Arc, time::Duration};

use database::Database;
use tokio::sync::watch;

/// Also how long a break is at least: a Postgres that answers may still not take the work, for its disk is full, say.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Whether to take a break, and who ends it.
#[derive(Clone)]
pub(crate) struct Pause {
    paused: Arc<watch::Sender<bool>>,
    database: Database,
}

impl Pause {
    pub(crate) fn new(database: Database) -> Self {
        Self { paused: Arc::new(watch::Sender::new(false)), database }
    }

    /// Follows the break.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.paused.subscribe()
    }

    /// Takes a break until Postgres answers again. Many may ask; one looks.
    pub(crate) fn until_back(&self) {
        if self.paused.send_replace(true) {
            return;
        }
        let pause = self.clone();
        tokio::spawn(async move {
            let mut is_back = false;
            while !is_back {
                tokio::time::sleep(LOOK_EVERY).await;
                is_back = pause.database.connection().await.is_ok();
            }
            tracing::info!("Postgres is back: workers go on");
            pause.paused.send_replace(false);
        });
    }
}
