//! What stands in the queue: when a raw event was received (8 bytes), how long its source's name is (1), the name, the body.

use bytes::{Buf, Bytes};

/// A raw event as it is read back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Microseconds since 1970.
    pub received_at: i64,
    pub source: Bytes,
    pub body: Bytes,
}

/// How long it will be.
pub(super) fn len(source: &str, body: &[u8]) -> usize {
    9 + source.len() + body.len()
}

/// Writes one. A source's name has at most 64 bytes.
pub(super) fn write(into: &mut Vec<u8>, received_at: i64, source: &str, body: &[u8]) {
    into.extend_from_slice(&received_at.to_be_bytes());
    into.push(source.len() as u8);
    into.extend_from_slice(source.as_bytes());
    into.extend_from_slice(body);
}

/// Reads one, without a copy; `None` if it is none.
pub(super) fn read(mut bytes: Bytes) -> Option<Frame> {
    let received_at = bytes.try_get_i64().ok()?;
    let len = usize::from(bytes.try_get_u8().ok()?);
    let source = (len <= bytes.len()).then(|| bytes.split_to(len))?;
    Some(Frame { received_at, source, body: bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written_and_is_as_long_as_it_was_said_to_be() {
        let mut bytes = Vec::new();
        write(&mut bytes, 1_771_000_000_123_456, "wa", b"{}");

        assert_eq!(bytes.len(), len("wa", b"{}"));
        let (source, body) = (Bytes::from_static(b"wa"), Bytes::from_static(b"{}"));
        assert_eq!(read(bytes.into()), Some(Frame { received_at: 1_771_000_000_123_456, source, body }));
        assert_eq!(read(Bytes::from_static(b"1234567\x00\x09short")), None);
    }
}
