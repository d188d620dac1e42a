//! Where raw events come from.

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::{AccountId, SourceId, TokenHash};

/// A provider's account, number or app that sends to us: its secrets and settings, opened.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name, the last part of its URL.
    pub id: SourceId,
    /// Who owns it.
    pub account_id: AccountId,
    /// What an operator calls it.
    pub name: String,
    /// Which provider's rules apply, by the provider's name (`whatsapp`).
    pub provider: String,
    /// A disabled source is answered like one that does not exist.
    pub enabled: bool,
    /// Each of these may have signed a request; more than one while they are rotated. None where they did not open: then
    /// what was taken from it can be worked on, and nothing that comes can be verified.
    pub secrets: Vec<SecretString>,
    /// What the provider's handshake must show, where it has one.
    pub verify_token: Option<SecretString>,
    /// Each of these an app may show in place of a signature, the newest first; none: no app enqueues for it.
    pub tokens: Vec<TokenHash>,
    /// The largest body that it takes, in bytes; `None` is what its provider sends at most.
    pub body_limit: Option<u32>,
    /// What only its provider understands (WhatsApp: `phone_number_id`).
    pub settings: Map<String, Value>,
    /// Grows with every change of any source; a snapshot with a lower one is older.
    pub revision: i64,
}

impl Source {
    /// Whether its secrets did not open where this was read.
    pub fn is_sealed(&self) -> bool {
        self.secrets.is_empty()
    }
}
