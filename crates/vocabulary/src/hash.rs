//! Fixed-size names for things whose own names are long or composed.
//!
//! Every part is hashed with its length before it, so that no two different lists of parts are the same bytes
//! (`("a", "bc")` is not `("ab", "c")`).

use std::fmt;

use ring::digest::{Context, SHA256};

use crate::{EndpointId, Key, SourceId};

fn digest(domain: &str, parts: [&str; 3]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in std::iter::once(domain).chain(parts) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

/// What stands for the name of a job that could not be kept as text, in hex.
pub(crate) fn of_job_name(name: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    push_hex(&mut text, ring::digest::digest(&SHA256, name).as_ref());
    text
}

/// What the ledger is unique by: the hash of (source, key).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// The hash of a key within its source.
    pub fn of(source: &SourceId, key: &Key) -> Self {
        Self(digest("key", [source.as_str(), key.as_str(), ""]))
    }

    /// As bytes, for a column.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

/// The `webhook-id` of a delivery: the hash of (source, key, endpoint).
///
/// It does not depend on anything that Postgres made up, so an event that was lost there and recorded again is sent
/// under the id that the customer has already seen. Standard Webhooks 1.0.0 forbids `.` in an id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebhookId(String);

impl WebhookId {
    /// The id of the delivery of one event to one endpoint.
    pub fn of(source: &SourceId, key: &Key, endpoint: &EndpointId) -> Self {
        let digest = digest("webhook", [source.as_str(), key.as_str(), endpoint.as_str()]);
        let mut id = String::with_capacity(44);
        id.push_str("msg_");
        push_hex(&mut id, &digest[..20]);
        Self(id)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes of a sender's name that a lane bears as it is. No provider's is longer, and an index could not hold ten kilobytes.
const LONGEST_SENDER: usize = 128;

/// The name of the lane of a source's events, or of those of one of its senders.
pub fn lane_name(source: &SourceId, sender: Option<&str>) -> String {
    match sender {
        None => source.as_str().to_owned(),
        Some(sender) if sender.len() <= LONGEST_SENDER => format!("{source} {sender}"),
        Some(sender) => {
            let mut name = format!("{source} sha256:");
            push_hex(&mut name, &digest("lane", [source.as_str(), sender, ""]));
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_different_pairs_never_share_a_hash_because_of_where_they_are_split() {
        let hash = |source: &str, key: &str| KeyHash::of(&source.parse().unwrap(), &Key::new(key).unwrap());
        assert_ne!(hash("a", "bc"), hash("ab", "c"));
        assert_eq!(hash("a", "bc"), hash("a", "bc"));
    }

    #[test]
    fn a_webhook_id_names_the_endpoint_too_and_holds_no_dot() {
        let id = |endpoint: &str| {
            WebhookId::of(&"s".parse().unwrap(), &Key::new("wamid.1").unwrap(), &endpoint.parse().unwrap())
        };
        assert_ne!(id("e1"), id("e2"));
        assert_eq!(id("e1"), id("e1"));
        assert!(!id("e1").as_str().contains('.'));
    }

    #[test]
    fn a_lane_is_called_by_its_sender_or_by_a_hash_where_that_is_endless_and_no_two_are_called_alike() {
        let source: SourceId = "wa".parse().unwrap();
        let (long, longer) = ("7".repeat(6000), "7".repeat(6001));

        let names = [None, Some("16505551234"), Some(&*long), Some(&*longer)].map(|sender| lane_name(&source, sender));

        assert_eq!(names[..2], ["wa", "wa 16505551234"]);
        assert!(names[2].starts_with("wa sha256:") && names[2].len() == 74, "{}", names[2]);
        assert_ne!(names[2], names[3]);
    }
}
