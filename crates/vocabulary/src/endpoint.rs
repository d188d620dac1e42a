//! Where deliveries go.

use std::{fmt, str::FromStr};

use secrecy::SecretString;
use serde::Serialize;

use crate::{AccountId, EndpointId};

/// A customer's URL with what is needed to send to it, opened.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its name.
    pub id: EndpointId,
    /// Who owns it.
    pub account_id: AccountId,
    /// Where to POST.
    pub url: String,
    /// Each of these signs every attempt; more than one while they are rotated. `whsec_` and base64.
    pub secrets: Vec<SecretString>,
    /// What it wants to hear of.
    pub event_types: EventTypes,
    /// Deliveries of a disabled endpoint stay pending, held.
    pub enabled: bool,
}

/// The event types that an endpoint wants: names, or `*` for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct EventTypes(Vec<String>);

/// Why a list names no event types.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventTypesError {
    /// Nothing in it.
    #[error("an endpoint without event types would hear of nothing: name some, or * for all")]
    Empty,
    /// Not a name.
    #[error("{0:?} is no event type: letters, digits, _ and . (message_created, whatsapp.system), or * for all")]
    Name(String),
}

impl EventTypes {
    /// The names of which one makes an endpoint want an event.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether an event of this type is wanted.
    pub fn want(&self, event_type: &str) -> bool {
        self.0.iter().any(|name| name == "*" || name == event_type)
    }

    /// Takes names as a column keeps them.
    ///
    /// # Errors
    /// When there is none, or one is not `[A-Za-z0-9_.]+` or `*`.
    pub fn from_names(names: Vec<String>) -> Result<Self, EventTypesError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
        if names.is_empty() {
            return Err(EventTypesError::Empty);
        }
        match names.iter().find(|name| *name != "*" && (name.is_empty() || !name.bytes().all(allowed))) {
            Some(bad) => Err(EventTypesError::Name(bad.clone())),
            None => Ok(Self(names)),
        }
    }
}

impl FromStr for EventTypes {
    type Err = EventTypesError;

    /// Reads a list with commas: `message_created,message_updated`.
    fn from_str(text: &str) -> Result<Self, EventTypesError> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        Self::from_names(names.map(str::to_owned).collect())
    }
}

impl fmt::Display for EventTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}
