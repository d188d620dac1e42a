//! Nobody but the holder of the secret makes a delivery that a customer believes.

use chrono::DateTime;
use http::{HeaderMap, HeaderValue};

use crate::signing::{SigningSecret, signature, verify};

const NAMES: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];
/// When the customer looks.
const NOW: i64 = 1_771_000_000;

/// A request made up without the secret is not believed; the same request, signed, is, if it is of now and its id has no dot,
/// and then neither another body nor another id is.
///
/// In `request` the id, the timestamp and the signatures stand one a line, then the body.
pub fn webhook(request: &[u8]) {
    let mut lines = request.splitn(4, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (id, timestamp, forged, body) = (line(), line(), line(), line());
    let secret = SigningSecret::parse(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).expect("a published secret");
    let now = DateTime::from_timestamp(NOW, 0).expect("a time");
    let believed = |id: &[u8], timestamp: &[u8], signatures: &[u8], body: &[u8]| {
        let values = [id, timestamp, signatures].map(HeaderValue::from_bytes);
        let headers = NAMES.iter().zip(values).filter_map(|(name, value)| Some((name.parse().ok()?, value.ok()?)));
        verify(&secret, &headers.collect::<HeaderMap>(), body, now).is_ok()
    };

    assert!(!believed(id, timestamp, forged, body), "nobody signed this");

    let Ok(id) = str::from_utf8(id) else { return };
    let seconds = str::from_utf8(timestamp).ok().and_then(|text| text.parse().ok()).unwrap_or(NOW);
    let right = signature(std::slice::from_ref(&secret), id, seconds, body);
    let is_sound = !id.contains('.') && HeaderValue::from_bytes(id.as_bytes()).is_ok_and(|id| id.to_str().is_ok());
    let in_time = NOW.abs_diff(seconds) <= 300;
    let timestamp = seconds.to_string();
    let known_by = |id: &str, body: &[u8]| believed(id.as_bytes(), timestamp.as_bytes(), right.as_bytes(), body);
    assert_eq!(known_by(id, body), is_sound && in_time, "{id:?} at {timestamp}");
    assert!(!known_by(id, &[body, b"."].concat()), "another body");
    assert!(!known_by(&format!("{id}_"), body), "another id");

    if !is_sound {
        return;
    }
    // What is signed is joined by dots: the same text must not be cut in another way.
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let dots: Vec<_> = (0..signed.len()).filter(|at| signed[*at] == b'.').take(20).collect();
    for (first, second) in dots.iter().flat_map(|first| dots.iter().map(move |second| (*first, *second))) {
        if first < second && (first, second) != (id.len(), id.len() + 1 + timestamp.len()) {
            let (id, timestamp, body) = (&signed[..first], &signed[first + 1..second], &signed[second + 1..]);
            assert!(!believed(id, timestamp, right.as_bytes(), body), "cut in another way: {signed:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn a_delivery_is_believed_only_as_it_was_signed(
            id in "(msg_[a-f0-9]{4}|[a-z0-9.]{0,8}|\\PC{0,8})",
            timestamp in prop_oneof![NOW - 302..=NOW + 302, any::<i64>()],
            forged in "(v1,[A-Za-z0-9+/]{43}= ?){0,3}|\\PC{0,60}",
            body in prop_oneof![vec(any::<u8>(), 0..60), "[0-9]{10}\\.[0-9.]{0,12}".prop_map(String::into_bytes)],
        ) {
            let head = format!("{id}\n{timestamp}\n{forged}\n");
            webhook(&[head.as_bytes(), &body].concat());
        }

        #[test]
        fn no_byte_of_a_signed_delivery_can_be_another(
            body in vec(any::<u8>(), 1..40),
            (part, at, byte) in (0..4_usize, any::<prop::sample::Index>(), any::<u8>()),
            is_v1a in any::<bool>(),
        ) {
            let text = if is_v1a { SigningSecret::generate_ed25519() } else { SigningSecret::generate() };
            let secret = SigningSecret::parse(&text).unwrap();
            let right = signature(std::slice::from_ref(&secret), "msg_1", NOW, &body);
            let mut parts = [b"msg_1".to_vec(), NOW.to_string().into_bytes(), right.into_bytes(), body];
            let at = at.index(parts[part].len());
            prop_assume!(parts[part][at] != byte);

            parts[part][at] = byte;

            let values = parts[..3].iter().map(|value| HeaderValue::from_bytes(value));
            let headers = NAMES.iter().zip(values).filter_map(|(name, value)| Some((name.parse().unwrap(), value.ok()?)));
            let headers: HeaderMap = headers.collect();
            prop_assert!(verify(&secret, &headers, &parts[3], DateTime::from_timestamp(NOW, 0).unwrap()).is_err());
        }
    }
}
