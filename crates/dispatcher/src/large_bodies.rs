//! Large bodies: those that a lease does not bring along.
//!
//! Hundreds of deliveries are in flight at one time, and a lease brings a body for each. With large ones that would be
//! gigabytes, also where all are of one event. So these are read by themselves, one after the other, each once however many
//! deliveries have it, within a budget of bytes. A body has its part of the budget for as long as anybody holds it.
//!
//! Accounts share the budget (`fairness.rs`), so that customers who take large bodies and do not answer hold up their own account.
//! A body that is larger than half of it, and so than any share, is read when there is as much room as it takes, or all: beside
//! it there is never room for a second of that kind.
//!
//! What finds no room is given back at once, and is due again a little later: small deliveries need its place in flight. It has
//! its turn then (`line.rs`).

mod line;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use database::{Database, QueryError, bodies};
use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

use crate::{error::DispatchError, pauses::Pauses};
use line::Line;

/// How long what found no room is left alone.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// How often it is said of an account that there was no room: with a backlog it is so every second.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Which body.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Which {
    /// Whose event it is, and whose are all who want it.
    pub(crate) account_id: String,
    pub(crate) event_id: Uuid,
    pub(crate) format: String,
    pub(crate) bytes: u32,
}

/// Those that somebody has.
type Held = HashMap<Which, Weak<Vec<u8>>>;

/// Reads them, and knows those that are in memory.
pub(crate) struct LargeBodies {
    database: Database,
    budget: usize,
    held: Mutex<Held>,
    line: Mutex<Line>,
    said: Pauses<String>,
}

/// What a delivery has of it.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl LargeBodies {
    pub(crate) fn new(database: Database, budget: usize) -> Self {
        let (held, line, said) = Default::default();
        Self { database, budget, held, line, said }
    }

    /// The body: as somebody has it already, or read now; `None` when there is no room. For one who asks at a time.
    ///
    /// # Errors
    /// When Postgres cannot be asked, or has no such body.
    pub(crate) async fn body(&self, which: &Which) -> Result<Option<Bytes>, DispatchError> {
        if let Some(body) = self.held().get(which).and_then(Weak::upgrade) {
            return Ok(Some(Bytes::from_owner(Shared(body))));
        }
        if !self.lets_in(which, Instant::now()) {
            return Ok(None);
        }
        let connection = self.database.connection().await?;
        let body = bodies::find(&connection, which.event_id, &which.format).await;
        let body = Arc::new(body.and_then(|body| body.ok_or(QueryError::NotFound)).map_err(DispatchError::Body)?);
        self.held().insert(which.clone(), Arc::downgrade(&body));
        Ok(Some(Bytes::from_owner(Shared(body))))
    }

    /// Says that there was no room, now and then.
    pub(crate) fn say_full(&self, which: &Which, deliveries: usize, now: Instant) {
        let Which { account_id, event_id, bytes, .. } = which;
        if !self.said.begin(account_id.clone(), now, SAID_EVERY) {
            return;
        }
        warn!(
            account.id = account_id,
            event.id = %event_id,
            body.bytes = bytes,
            pause_s = PAUSE.as_secs(),
            "{deliveries} deliveries of account {account_id}, of {bytes} bytes each, are put off: the large bodies that are being \
             sent, and those that have waited longer, leave it no room in {} bytes",
            self.budget
        );
    }

    fn lets_in(&self, which: &Which, now: Instant) -> bool {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.lets_in(which, self.held().keys(), self.budget, now)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, body| body.strong_count() > 0);
        held
    }
}
