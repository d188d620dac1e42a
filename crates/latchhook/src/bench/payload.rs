//! The request that is sent: WhatsApp's recorded text message, rendered once and then only stamped and signed.
//!
//! A stamp is a part of the message's id, `wamid.HBgL` + when it was due (nanoseconds since 1970) + its number + a suffix, all
//! of fixed width. So an id travels through whatever is measured, and whoever receives it can tell how long that took
//! ([`due`]), also from a request that waited for its turn at the sender.

use std::ops::Range;

use anyhow::Context;
use ring::hmac;
use serde_json::Value;

const RECORDED: &str = include_str!("../../../../tests/fixtures/whatsapp/01_text.json");
/// The number that the recorded message was sent to.
pub(super) const PHONE_NUMBER_ID: &str = "990000000000042";

const MARK: &str = "wamid.HBgL";
const DUE: usize = 19;
const NUMBER: usize = 12;
const SIGNATURE: usize = 64;

/// A whole HTTP request, head and body, ready to be stamped.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    request: Vec<u8>,
    signature: Range<usize>,
    body: usize,
    /// Where the stamp of each item begins.
    stamps: Vec<usize>,
    key: hmac::Key,
}

impl Payload {
    /// A request of so many messages to this host and path. Ids with different suffixes never meet.
    ///
    /// # Errors
    /// When the recorded message is not what it was.
    pub(super) fn render(host: &str, path: &str, secret: &str, items: usize, suffix: &str) -> anyhow::Result<Self> {
        let body = body(items, suffix)?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             x-hub-signature-256: sha256=",
            body.len()
        );
        let signature = head.len()..head.len() + SIGNATURE;
        let request = format!("{head}{:0SIGNATURE$}\r\n\r\n{body}", 0).into_bytes();
        let stamps = places(&request, MARK).map(|place| place + MARK.len()).collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        Ok(Self { body: request.len() - body.len(), request, signature, stamps, key })
    }

    /// The request of this number, which was due then: the same bytes for the same two numbers.
    pub(super) fn stamped(&mut self, number: u64, due: u64) -> &[u8] {
        let items = self.stamps.len() as u64;
        for (item, place) in (0..).zip(&self.stamps) {
            let (at, after) = self.request[*place..].split_at_mut(DUE);
            write_digits(at, due);
            write_digits(&mut after[..NUMBER], number * items + item);
        }
        let tag = hmac::sign(&self.key, &self.request[self.body..]);
        write_hex(&mut self.request[self.signature.clone()], tag.as_ref());
        &self.request
    }

    /// How long its body is.
    pub(super) fn body_len(&self) -> usize {
        self.request.len() - self.body
    }
}

/// When the first message in these bytes was due; `None` if there is no stamp in them.
pub(super) fn due(bytes: &[u8]) -> Option<u64> {
    let stamp = places(bytes, MARK).next()? + MARK.len();
    let digits = bytes.get(stamp..stamp + DUE)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The recorded body, with so many messages in place of its one, each under an id of our form.
fn body(items: usize, suffix: &str) -> anyhow::Result<String> {
    let mut body: Value = serde_json::from_str(RECORDED)?;
    let messages = body.pointer_mut("/entry/0/changes/0/value/messages").and_then(Value::as_array_mut);
    let messages = messages.context("the recorded message has moved")?;
    let mut message = messages.first().cloned().context("there is no recorded message")?;
    message["id"] = format!("{MARK}{:0width$}{suffix}", 0, width = DUE + NUMBER).into();
    *messages = vec![message; items];
    Ok(serde_json::to_string_pretty(&body)?)
}

fn places<'a>(bytes: &'a [u8], mark: &'a str) -> impl Iterator<Item = usize> + 'a {
    let windows = bytes.windows(mark.len()).enumerate();
    windows.filter(|(_, window)| *window == mark.as_bytes()).map(|(place, _)| place)
}

fn write_digits(into: &mut [u8], mut value: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn write_hex(into: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in into.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chrono::DateTime;
    use hyper::HeaderMap;
    use providers::{Provider, Request, Verdict};
    use serde_json::{Map, json};
    use vocabulary::Source;

    use super::*;

    fn payload(items: usize) -> Payload {
        Payload::render("localhost", "/hooks/bench", "secret", items, "x1").unwrap()
    }

    fn parts(request: &[u8]) -> (String, Value) {
        let text = String::from_utf8(request.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), serde_json::from_str(body).unwrap())
    }

    fn ids(body: &Value) -> Vec<String> {
        let messages = body["entry"][0]["changes"][0]["value"]["messages"].as_array().unwrap();
        messages.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_request_is_what_the_provider_takes_for_genuine() {
        let mut payload = payload(1);
        let request = payload.stamped(7, 1_771_000_000_000_000_000).to_vec();

        let (head, _) = parts(&request);
        let mut headers = HeaderMap::new();
        let signature = head.lines().find_map(|line| line.strip_prefix("x-hub-signature-256: ")).unwrap();
        headers.insert("x-hub-signature-256", signature.parse().unwrap());
        let source = Source {
            id: "bench".parse().unwrap(),
            account_id: "bench".parse().unwrap(),
            name: "bench".to_owned(),
            provider: "whatsapp".to_owned(),
            secrets: vec!["secret".to_owned().into()],
            verify_token: None,
            tokens: Vec::new(),
            body_limit: None,
            settings: Map::from_iter([("phone_number_id".to_owned(), json!(PHONE_NUMBER_ID))]),
            enabled: true,
            revision: 1,
        };
        let verdict = Provider::WhatsApp.verify(
            &source,
            &Request::posted(&headers, &request[request.len() - payload.body_len()..], DateTime::UNIX_EPOCH),
        );
        assert!(matches!(verdict, Verdict::Genuine));
    }

    #[test]
    fn the_same_number_due_at_the_same_time_is_the_same_bytes_and_another_number_is_not() {
        let mut payload = payload(3);
        let first = payload.stamped(7, 1_000).to_vec();
        let other = payload.stamped(8, 1_000).to_vec();

        assert_ne!(first, other);
        assert_eq!(payload.stamped(7, 1_000), first);
    }

    #[test]
    fn all_items_of_all_requests_have_ids_of_their_own_that_tell_when_they_were_due() {
        let mut payload = payload(100);
        let mut seen = HashSet::new();
        for number in 0..10 {
            let (_, body) = parts(payload.stamped(number, 1_771_000_000_123_456_789));
            seen.extend(ids(&body));
        }

        assert_eq!(seen.len(), 1000);
        assert!(seen.iter().all(|id| due(id.as_bytes()) == Some(1_771_000_000_123_456_789)));
        assert_eq!(due(b"wamid.of somebody else"), None);
    }

    #[test]
    fn one_message_is_about_as_long_as_the_recorded_one() {
        assert!(payload(1).body_len().abs_diff(RECORDED.len()) < 64);
    }
}
