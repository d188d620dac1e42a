//! The recorded stream: payloads as WhatsApp sends them, and thousands made from them, signed as Meta signs.
//!
//! The same seed gives the same stream. What it holds is counted here, by a walk of its own over the JSON, so that the
//! demo judges the pipeline by something the pipeline did not count.

use std::collections::HashSet;

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use ring::hmac;
use serde_json::Value;

/// The app secret that signs the stream, and the source's.
pub(super) const APP_SECRET: &str = "fixture-app-secret";
/// What the source's handshake must show.
pub(super) const VERIFY_TOKEN: &str = "fixture-verify-token";
/// The number that the recorded payloads belong to.
pub(super) const PHONE_NUMBER_ID: &str = "990000000000042";

macro_rules! recorded {
    ($($name:literal),* $(,)?) => {
        [$(include_str!(concat!("../../../../tests/fixtures/whatsapp/", $name, ".json"))),*]
    };
}

const RECORDED: [&str; 21] = recorded![
    "01_text",
    "02_text_reply_with_context",
    "04_image_caption",
    "05_audio_voice",
    "07_document_accented_filename",
    "09_location",
    "11_contacts_two_cards",
    "13_reaction",
    "15_button_template_reply",
    "16_interactive_button_reply",
    "18_interactive_nfm_reply_flow",
    "19_text_with_referral_ctwa",
    "21_unsupported_131051",
    "26_status_sent",
    "27_status_delivered",
    "28_status_read",
    "29_status_failed",
    "31_echo_text",
    "35_batch_two_changes_three_messages",
    "36_messages_and_statuses_together",
    "42_unknown_type_without_body",
];

/// One request to send.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// The body, exactly as it is signed.
    pub(super) body: Bytes,
    /// The header's value.
    pub(super) signature: String,
    /// How many connections send it at the same instant.
    pub(super) at_once: usize,
}

/// What to send, and what must come of it.
#[derive(Debug)]
pub(super) struct Stream {
    /// In the order of sending.
    pub(super) requests: Vec<Request>,
    /// How many different keys are in the genuine ones.
    pub(super) keys: usize,
    /// How many genuine ones are no JSON.
    pub(super) malformed: usize,
    /// How many requests are sent in all, each as often as it is sent.
    pub(super) sent: usize,
    /// How many of those are forged.
    pub(super) forged: usize,
}

impl Stream {
    /// About so many requests; a fifth of the genuine ones repeated far apart, a fifth at the same instant.
    pub(super) fn record(seed: u64, size: usize) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut originals: Vec<Bytes> = (0..size).map(|_| vary(&mut rng)).collect();
        originals.extend(RECORDED.iter().map(|recorded| Bytes::from_static(recorded.as_bytes())));
        originals.extend((0..size / 100).map(|_| batch(&mut rng)));
        let malformed: Vec<Bytes> = (0..3).map(|n| Bytes::from(format!("{{\"entry\": [{n}, "))).collect();
        let keys = originals.iter().flat_map(|body| keys(body)).collect::<HashSet<_>>().len();

        let mut requests: Vec<Request> = originals.iter().map(|body| genuine(body, 1)).collect();
        requests.partial_shuffle(&mut rng, size / 5).0.iter_mut().for_each(|request| request.at_once = 4);
        let again: Vec<_> = (0..size / 5).map(|_| originals[rng.random_range(0..originals.len())].clone()).collect();
        requests.shuffle(&mut rng);
        requests.extend(malformed.iter().map(|body| genuine(body, 1)));
        requests.extend(again.iter().map(|body| genuine(body, 1)));
        let forged: Vec<_> = (0..size / 50).map(|n| forge(&originals[n])).collect();
        for request in &forged {
            requests.insert(rng.random_range(0..requests.len()), request.clone());
        }
        let sent = requests.iter().map(|request| request.at_once).sum();
        Self { keys, malformed: malformed.len(), sent, forged: forged.len(), requests }
    }
}

fn genuine(body: &Bytes, at_once: usize) -> Request {
    Request { body: body.clone(), signature: sign(APP_SECRET, body), at_once }
}

fn forge(body: &Bytes) -> Request {
    Request { body: body.clone(), signature: sign("not the secret", body), at_once: 1 }
}

/// `X-Hub-Signature-256` as Meta computes it: over the exact bytes.
pub(super) fn sign(secret: &str, body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// A recorded payload with ids and a sender of its own.
fn vary(rng: &mut SmallRng) -> Bytes {
    let recorded = RECORDED[rng.random_range(0..RECORDED.len())];
    let salt = format!("{:016x}", rng.random::<u64>());
    Bytes::from(recorded.replace("wamid.HBgL", &format!("wamid.HBgL{salt}")))
}

/// Fifty messages and statuses in one request: Meta puts up to a thousand.
fn batch(rng: &mut SmallRng) -> Bytes {
    let parts = (0..25).map(|_| vary(rng)).filter_map(|body| serde_json::from_slice::<Value>(&body).ok());
    let entries = parts.filter_map(|mut body| body.get_mut("entry").map(Value::take));
    let entry: Vec<Value> = entries.filter_map(|entry| entry.as_array().cloned()).flatten().collect();
    Bytes::from(serde_json::json!({"object": "whatsapp_business_account", "entry": entry}).to_string())
}

/// The keys that a body holds, by the rules of DESIGN's table for the kinds that were recorded.
fn keys(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let array = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let changes = array(&body, "entry").into_iter().flat_map(move |entry| array(&entry, "changes"));
    let items = changes.flat_map(move |change| {
        let value = &change["value"];
        let id = |item: &Value| item["id"].as_str().unwrap_or_default().to_owned();
        let messages = array(value, "messages").iter().map(id).collect::<Vec<_>>();
        let echoes = array(value, "message_echoes").iter().map(|echo| format!("echo:{}", id(echo))).collect();
        let status = |status: &Value| format!("{}:{}", id(status), status["status"].as_str().unwrap_or_default());
        let statuses = array(value, "statuses").iter().map(status).collect();
        [messages, echoes, statuses].concat()
    });
    items.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_records_the_same_stream() {
        let (one, two) = (Stream::record(7, 200), Stream::record(7, 200));

        let bodies = |stream: &Stream| stream.requests.iter().map(|request| request.body.clone()).collect::<Vec<_>>();

        assert_eq!(bodies(&one), bodies(&two));
        assert!(one.sent > one.requests.len(), "some are sent more than once at the same instant");
    }

    #[test]
    fn the_recorded_batch_holds_three_keys_and_the_mixed_one_two() {
        let batch = include_bytes!("../../../../tests/fixtures/whatsapp/35_batch_two_changes_three_messages.json");
        let mixed = include_bytes!("../../../../tests/fixtures/whatsapp/36_messages_and_statuses_together.json");

        assert_eq!((keys(batch).len(), keys(mixed).len()), (3, 2));
    }
}
