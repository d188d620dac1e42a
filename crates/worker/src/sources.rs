//! The sources as Postgres has them: kept for this process's workers, published for the producers.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use chrono::{DateTime, Utc};
use database::Database;
use queue::Snapshots;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use vocabulary::{MasterKey, Source, SourceId};

/// How often changes are looked for. With the producers' own second, how long a change takes to be seen everywhere.
const EVERY: Duration = Duration::from_secs(2);
/// An unknown source is looked for at once, but not more often than this.
const RELOAD_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// All sources, kept fresh. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    master: Arc<MasterKey>,
    snapshots: Snapshots,
    known: RwLock<Known>,
    /// When an unknown source last made us begin to look; held while looking, so that many askers look once.
    looked: Mutex<Option<tokio::time::Instant>>,
}

#[derive(Default, Clone)]
struct Known {
    newest: (i64, i64),
    by_id: Arc<HashMap<SourceId, Arc<Source>>>,
    /// Our master key is another than that of whoever added them.
    is_foreign: bool,
}

/// Why the sources are not as fresh as they should be.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// No connection.
    #[error("the sources cannot be read")]
    Database(#[from] database::DatabaseError),
    /// The query failed.
    #[error("the sources cannot be read")]
    Open(#[from] database::OpenError),
    /// A snapshot of nothing but sealed ones would shut out everybody.
    #[error("no source opens under this master key: set LATCHHOOK_MASTER_KEY to the one that sealed them")]
    Foreign,
    /// Redis did not take them.
    #[error("the snapshot of the sources cannot be published")]
    Publish(#[from] queue::SnapshotError),
}

impl Sources {
    /// Nothing is read yet.
    pub fn new(database: Database, master: Arc<MasterKey>, redis: &queue::Redis) -> Self {
        let (known, looked) = (RwLock::default(), Mutex::new(None));
        Self { shared: Arc::new(Shared { database, master, snapshots: Snapshots::new(redis), known, looked }) }
    }

    /// The source of that name. One that is not known yet is looked for in Postgres, at most once a second: a raw event
    /// may come before the news of its source.
    ///
    /// # Errors
    /// When Postgres cannot be asked: then nobody can say that there is no such source.
    pub async fn get(&self, id: &SourceId) -> Result<Option<Arc<Source>>, SourcesError> {
        if let Some(source) = self.known(id) {
            return Ok(Some(source));
        }
        let asked = tokio::time::Instant::now();
        let mut looked = self.shared.looked.lock().await;
        // Who began to look after we had asked has looked for us too, whatever was found.
        if self.known(id).is_none() && looked.is_none_or(|last| last < asked) {
            if let Some(last) = *looked {
                tokio::time::sleep_until(last + RELOAD_AT_MOST_EVERY).await;
            }
            let began = tokio::time::Instant::now();
            self.reload().await?;
            *looked = Some(began);
        }
        Ok(self.known(id))
    }

    fn known(&self, id: &SourceId) -> Option<Arc<Source>> {
        self.snapshot().by_id.get(id).cloned()
    }

    fn snapshot(&self) -> Known {
        self.shared.known.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Reads the sources again if anything changed.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub async fn reload(&self) -> Result<(), SourcesError> {
        let connection = self.shared.database.connection().await?;
        let newest = database::sources::newest(&connection).await.map_err(database::OpenError::from)?;
        if newest == self.snapshot().newest {
            return Ok(());
        }
        let opened = database::sources::open_all(&connection, &self.shared.master).await?;
        tell_of(&opened);
        let is_foreign = opened.is_foreign();
        let by_id = opened.sources.into_iter().map(|source| (source.id.clone(), Arc::new(source))).collect();
        let known = Known { newest, by_id: Arc::new(by_id), is_foreign };
        *self.shared.known.write().unwrap_or_else(std::sync::PoisonError::into_inner) = known;
        Ok(())
    }

    /// One step: reads what changed, and tells the producers what there is and that it is fresh.
    ///
    /// # Errors
    /// When Postgres or Redis cannot be asked, or no source opens.
    pub async fn refresh(&self, now: DateTime<Utc>) -> Result<(), SourcesError> {
        self.reload().await?;
        let known = self.snapshot();
        if known.is_foreign {
            return Err(SourcesError::Foreign);
        }
        let sources: Vec<Arc<Source>> = known.by_id.values().cloned().collect();
        self.shared.snapshots.publish(&self.shared.master, known.newest.1, &sources, now).await?;
        Ok(())
    }

    /// The step, every two seconds, until stopped.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.refresh(Utc::now()).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the sources are not as fresh as they should be"
                );
            }
            let _ = tokio::time::timeout(EVERY, stop.cancelled()).await;
        }
    }
}

/// Said once for each change of any source.
fn tell_of(opened: &database::sources::Opened) {
    for (id, error) in &opened.failures {
        tracing::error!(
            error = error as &dyn std::error::Error,
            source.id = %id,
            "the source {id} does not open under this master key: its requests are answered with 503. Name the key that \
             sealed it behind the first, or give it new secrets (source rotate)"
        );
    }
}
