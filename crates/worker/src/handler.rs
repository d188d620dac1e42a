//! An app's own step: runs inside the one transaction, with each new event, so that the app's tables change together with
//! the ledger or not at all. Its limits are in docs/own-processing.md.

use chrono::{DateTime, Utc};
use database::{AsyncPgConnection, QueryError, Trouble, handling};
use futures::future::BoxFuture;
use uuid::Uuid;
use vocabulary::{Key, SourceId};

/// A step that an app adds to the worker.
pub trait Handler: Send + Sync + 'static {
    /// Called once for each new event of a transaction, never for a duplicate, in the order of the sequence. The event's row
    /// and what it owes are written already, and nobody else sees them before COMMIT. Of one source no two events are
    /// handled at a time.
    ///
    /// It may be called again for the same event, after the transaction was rolled back. So it changes nothing but tables,
    /// and these through `conn` only. It may not end the transaction, what it SETs holds for this call, and it is to be
    /// short: while it runs every other transaction of this source waits.
    ///
    /// # Errors
    /// [`HandlerError`] says what becomes of the event: it alone, its mates are committed. A panic is a refusal.
    fn handle<'a>(
        &'a self,
        conn: &'a AsyncPgConnection,
        event: &'a HandledEvent<'a>,
    ) -> BoxFuture<'a, Result<(), HandlerError>>;
}

/// What a handler sees of an event.
#[derive(Debug, Clone)]
pub struct HandledEvent<'a> {
    /// Its id, that of its row in `events`. Another one after each rollback.
    pub id: Uuid,
    /// Where it came from.
    pub source_id: &'a SourceId,
    /// Whose it is.
    pub account_id: &'a str,
    /// Its provider's name.
    pub provider: &'a str,
    /// The provider's own id for it, unique within its source. The same each time.
    pub key: &'a Key,
    /// The provider's `type`, verbatim.
    pub kind: &'a str,
    /// What its webhook is called, whether or not anybody is told of it: `message_created`, say.
    pub event_type: &'a str,
    /// Its place among the events of its source, without gaps. May be another one after a rollback.
    pub sequence: i64,
    /// When it happened, by the provider's clock.
    pub occurred_at: Option<DateTime<Utc>>,
    /// When the raw event was taken in.
    pub received_at: DateTime<Utc>,
    /// The message that it is about, as JSON, as it stands after it. None where it is about none, or one that has not come.
    pub message: Option<&'a str>,
    /// The full body that customers are told, as JSON.
    pub body: &'a [u8],
    /// The item exactly as the provider sent it.
    pub raw: &'a [u8],
}

/// Why a handler does not take an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandlerError {
    /// Not now: the event comes again in a second or two, for as long as this is said.
    #[error("the handler is to be asked later: {0}")]
    Later(String),
    /// Never as things stand: the event goes to quarantine with these words, and is handled again by its replay.
    #[error("the handler refuses the event: {0}")]
    Refused(String),
}

/// What passes by itself (locks, a full disk, a connection that is gone) is for later. Everything else would fail again:
/// a constraint, a table that is not there, a row that was not found.
impl From<QueryError> for HandlerError {
    fn from(error: QueryError) -> Self {
        Self::of(&error)
    }
}

impl HandlerError {
    pub(crate) fn of(error: &QueryError) -> Self {
        let words = error.to_string();
        match database::trouble(error) {
            Trouble::Contention | Trouble::Outage => Self::Later(words),
            _ if words.contains(handling::CONSTRAINT) => Self::Refused(GUARDED.to_owned()),
            _ => Self::Refused(words),
        }
    }
}

const GUARDED: &str = "it said COMMIT, which is not its to say; or SET CONSTRAINTS ALL IMMEDIATE, which is said after all \
                       calls: let it name its own constraints";
