//! One item inside a raw event: what a provider's adapter makes of it.

use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Attachment, NewMessage, Progress, Reaction};

/// The provider's own id for an item, unique within its source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing to be unique by.
    #[error("the item's id is empty")]
    Empty,
    /// No provider's id is that long; an index could not hold it.
    #[error("the item's id has {0} bytes, the longest allowed is {max}", max = Key::MAX_LEN)]
    TooLong(usize),
    /// Postgres keeps no NUL in text.
    #[error("the item's id holds a NUL")]
    Nul,
}

impl Key {
    /// The longest key, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Takes a provider's id.
    ///
    /// # Errors
    /// When it is empty, longer than [`Key::MAX_LEN`], or holds a NUL.
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        Self::check(&text).map(|()| Self(text))
    }

    /// Whether a text can be a key.
    ///
    /// # Errors
    /// As [`Key::new`].
    pub fn check(text: &str) -> Result<(), KeyError> {
        match text.len() {
            0 => Err(KeyError::Empty),
            len if len > Self::MAX_LEN => Err(KeyError::TooLong(len)),
            _ if text.contains('\0') => Err(KeyError::Nul),
            _ => Ok(()),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a provider's adapter makes of one item: an event, or a reason why not. Its mates go on either way.
pub type Item = Result<Event, Rejection>;

/// One item inside a raw event, with its key.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The provider's own id for it.
    pub key: Key,
    /// The provider's `type` for it, verbatim; the name of its field where it has none. Never holds a NUL.
    pub kind: String,
    /// When it happened, by the provider's clock.
    pub occurred_at: Option<DateTime<Utc>>,
    /// The item exactly as it was sent.
    pub raw: Bytes,
    /// Whether `raw` has been read, and is JSON in UTF-8 as it stands. What has not been may be as well.
    pub raw_is_json: bool,
    /// What it does.
    pub effect: Effect,
    /// Recorded, and owes nobody anything (the messages of a history that was synchronised afterwards).
    pub quiet: bool,
}

/// What an event does, and so what it owes.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A new message: `message_created`.
    Message(Box<NewMessage>),
    /// Changes another message, when it is there or when it comes: `message_updated` if it changed something.
    Change {
        /// The other message's id, by the provider.
        target: String,
        /// What changes.
        change: Change,
    },
    /// Moves a message's status: `message_updated` if it moved.
    Status(StatusUpdate),
    /// No message: `<provider>.<kind>`.
    Notice,
}

/// What one message does to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Somebody reacted; without an emoji the reaction was taken back.
    Reaction(Reaction),
    /// The sender wrote it anew.
    Edit {
        /// The new text, or the new caption.
        content: Option<String>,
        /// The new attachments, where the edit names any.
        attachments: Vec<Attachment>,
    },
    /// The sender took it back.
    Revoke,
}

/// What a provider says became of an outgoing message.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusUpdate {
    /// The message's id, by the provider.
    pub target: String,
    /// How far it got; `None` for a word that we do not know, which moves nothing.
    pub progress: Option<Progress>,
    /// The provider's `errors`, verbatim, where it says why a message failed.
    pub errors: Option<serde_json::Value>,
}

/// Why an item could not become an event. Goes to quarantine with the item, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// A few words that many rejections share, to group by: `missing id`, `not JSON`.
    pub reason: &'static str,
    /// What exactly is wrong with this one.
    pub detail: String,
    /// The item as it was sent; the whole body if it could not be split.
    pub raw: Bytes,
    /// Whether `raw` is the whole raw event rather than one item of it.
    pub whole: bool,
}
