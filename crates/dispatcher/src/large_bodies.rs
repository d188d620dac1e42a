//! Large bodies: those that a lease does not bring along.
//!
//! Hundreds of deliveries are in flight at one time, and a lease brings a body for each. With large ones that would be
//! gigabytes, also where all are of one event. So these are read by themselves, one after the other, each once however many
//! deliveries have it, within a budget of bytes. A body has its part of the budget for as long as anybody holds it.
//!
//! What finds no room is given back at once, and is due again a little later: small deliveries need its place in flight.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use database::{Database, QueryError, bodies};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tracing::warn;
use uuid::Uuid;

use crate::{error::DispatchError, pauses::Pauses};

/// How long what found no room is left alone.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// How often it is said that there was no room: with a backlog it is so every second.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Which body.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Which {
    pub(crate) event_id: Uuid,
    pub(crate) format: String,
    pub(crate) bytes: u32,
}

/// Reads them, and knows those that are in memory.
pub(crate) struct LargeBodies {
    database: Database,
    budget: Arc<Semaphore>,
    limit: u32,
    held: Mutex<HashMap<Which, Weak<Held>>>,
    said: Pauses<()>,
}

/// A body in memory, with its part of the budget.
struct Held {
    body: Vec<u8>,
    _part: OwnedSemaphorePermit,
}

/// What a delivery has of it.
struct Shared(Arc<Held>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0.body
    }
}

impl LargeBodies {
    pub(crate) fn new(database: Database, limit: u32) -> Self {
        let (held, said) = Default::default();
        Self { database, budget: Arc::new(Semaphore::new(limit as usize)), limit, held, said }
    }

    /// The body: as somebody has it already, or read now; `None` when there is no room. For one who asks at a time.
    ///
    /// # Errors
    /// When Postgres cannot be asked, or has no such body.
    pub(crate) async fn body(&self, which: &Which) -> Result<Option<Bytes>, DispatchError> {
        if let Some(held) = self.held().get(which).and_then(Weak::upgrade) {
            return Ok(Some(Bytes::from_owner(Shared(held))));
        }
        // One that is larger than the budget takes all of it, so that it can be sent when it is alone.
        let part = self.budget.clone().try_acquire_many_owned(which.bytes.min(self.limit));
        let Ok(part) = part else { return Ok(None) };
        let connection = self.database.connection().await?;
        let body = bodies::find(&connection, which.event_id, &which.format).await;
        let body = body.and_then(|body| body.ok_or(QueryError::NotFound)).map_err(DispatchError::Body)?;
        let held = Arc::new(Held { body, _part: part });
        self.held().insert(which.clone(), Arc::downgrade(&held));
        Ok(Some(Bytes::from_owner(Shared(held))))
    }

    /// Says that there was no room, now and then.
    pub(crate) fn say_full(&self, which: &Which, deliveries: usize, now: Instant) {
        if !self.said.begin((), now, SAID_EVERY) {
            return;
        }
        warn!(
            event.id = %which.event_id,
            body.bytes = which.bytes,
            pause_s = PAUSE.as_secs(),
            "{deliveries} deliveries of {} bytes each are put off: other large bodies that are being sent have the {} bytes that \
             there are for them",
            which.bytes,
            self.limit
        );
    }

    /// Those that somebody has.
    fn held(&self) -> MutexGuard<'_, HashMap<Which, Weak<Held>>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, held| held.strong_count() > 0);
        held
    }
}
