//! By what a request is known again that is sent a second time.

use ring::digest::{Context, SHA256};

use crate::SourceId;

/// Half of a SHA-256: two of these are never the same by accident, and Redis keeps many.
const LENGTH: usize = 16;

/// A request under a key of its sender's choice (`Idempotency-Key`, draft-ietf-httpapi-idempotency-key-header-07): what it
/// brings is enqueued once, however often it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Once {
    source_id: SourceId,
    key: [u8; LENGTH],
    request: [u8; LENGTH],
}

impl Once {
    /// `key` is unique within the source; `request` is all of what makes two requests the same, in parts.
    pub fn new(source_id: &SourceId, key: &str, request: &[&[u8]]) -> Self {
        Self { source_id: source_id.clone(), key: hash(&[key.as_bytes()]), request: hash(request) }
    }

    /// Whose key it is.
    pub fn source_id(&self) -> &SourceId {
        &self.source_id
    }

    /// The hash of the key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The hash of the request: another one under the same key is a mistake of the sender.
    pub fn request(&self) -> &[u8] {
        &self.request
    }
}

/// Each part with its length before it, so that no two lists of parts are the same bytes.
fn hash(parts: &[&[u8]]) -> [u8; LENGTH] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut hash = [0; LENGTH];
    hash.copy_from_slice(&context.finish().as_ref()[..LENGTH]);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_the_same_when_their_parts_are() {
        let of = |key: &str, parts: &[&[u8]]| Once::new(&"wa".parse().unwrap(), key, parts);

        assert_eq!(of("k", &[b"a", b"b"]), of("k", &[b"a", b"b"]));
        assert_ne!(of("k", &[b"ab", b""]).request(), of("k", &[b"a", b"b"]).request());
        assert_ne!(of("k", &[b"a"]).key(), of("l", &[b"a"]).key());
    }
}
