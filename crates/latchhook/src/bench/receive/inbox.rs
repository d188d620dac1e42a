//! What the customer has heard.
//!
//! Of each delivery 24 bytes are kept: 16 of its id's hash and 8 that tell one body from another, in a table that takes up
//! to 57 bytes for each. Of what comes above [`MOST`] only the number is known, and that it came; a run with more is not
//! for this customer.

use std::{collections::HashMap, time::Duration};

use chrono::Utc;
use dispatcher::signing::{SigningSecret, verify};
use hyper::HeaderMap;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::super::{
    clock,
    histogram::{Histogram, Latency},
    payload, usage,
};

/// About 1.1 GB.
const MOST: usize = 20_000_000;

/// What came so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Deliveries whose signature fits.
    pub(crate) received: u64,
    /// Of these, with different ids.
    pub(crate) distinct: u64,
    /// Deliveries with an id that had come before.
    pub(crate) doubled: u64,
    /// Of these, with another body than the first.
    pub(crate) changed: u64,
    /// Requests whose signature does not fit.
    pub(crate) forged: u64,
    /// Deliveries in which no stamp of the sender was found.
    pub(crate) unstamped: u64,
    /// Deliveries that came when the memory for ids was full.
    pub(crate) forgotten: u64,
    /// When the last one with a new id came, in nanoseconds since 1970.
    pub(crate) last_at: u64,
    /// What this process used since the last reset.
    pub(crate) cpu_seconds: f64,
    /// Of this process.
    pub(crate) rss_bytes: u64,
    /// From when an event was due at the sender to its delivery; of each id's first.
    #[serde(flatten)]
    pub(crate) latency: Latency,
}

pub(super) struct Inbox {
    secret: SigningSecret,
    bodies: HashMap<u128, u64>,
    counts: Counts,
    latency: Histogram,
    used_before: Duration,
}

impl Inbox {
    pub(super) fn new(secret: SigningSecret) -> Self {
        let used_before = usage::cpu("self");
        Self { secret, bodies: HashMap::new(), counts: Counts::default(), latency: Histogram::default(), used_before }
    }

    /// Whether it believes the delivery.
    pub(super) fn hear(&mut self, headers: &HeaderMap, body: &[u8]) -> bool {
        let Ok(id) = verify(&self.secret, headers, body, Utc::now()) else {
            self.counts.forged += 1;
            return false;
        };
        self.counts.received += 1;
        let (id, told) = (key(id.as_bytes()), fingerprint(body));
        match self.bodies.get(&id) {
            Some(before) => {
                self.counts.doubled += 1;
                self.counts.changed += u64::from(*before != told);
            }
            None if self.bodies.len() == MOST => self.counts.forgotten += 1,
            None => {
                self.bodies.insert(id, told);
                self.counts.last_at = clock::now();
                self.take_the_time(body);
            }
        }
        true
    }

    fn take_the_time(&mut self, body: &[u8]) {
        match payload::due(body) {
            Some(due) => self.latency.record(self.counts.last_at.saturating_sub(due) / 1000),
            None => self.counts.unstamped += 1,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            distinct: self.bodies.len() as u64,
            cpu_seconds: usage::cpu("self").saturating_sub(self.used_before).as_secs_f64(),
            rss_bytes: usage::status("self", "VmRSS"),
            latency: self.latency.latency(),
            ..self.counts.clone()
        }
    }

    /// Keeps the memory: it is needed again.
    pub(super) fn forget(&mut self) {
        self.bodies.clear();
        self.counts = Counts::default();
        self.latency = Histogram::default();
        self.used_before = usage::cpu("self");
    }
}

/// Half of a SHA-256: nobody can make two ids that share it.
fn key(id: &[u8]) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&digest(&SHA256, id).as_ref()[..16]);
    u128::from_le_bytes(half)
}

/// Tells one body from another. Eight bytes a step, a tenth of what a SHA-256 would cost; a mistake, which is what is looked
/// for, escapes it once in 2⁶⁴, and a forger has no signature.
fn fingerprint(body: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    body.chunks(8).fold(body.len() as u64, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let mixed = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
        mixed ^ (mixed >> 32)
    })
}

#[cfg(test)]
mod tests {
    use dispatcher::signing::signature;

    use super::*;

    fn inbox() -> (SigningSecret, Inbox) {
        let secret = SigningSecret::parse(&SigningSecret::generate()).unwrap();
        (secret.clone(), Inbox::new(secret))
    }

    fn headers(secret: &SigningSecret, id: &str, body: &[u8]) -> HeaderMap {
        let now = Utc::now().timestamp();
        let signature = signature(std::slice::from_ref(secret), id, now, body);
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", now.into());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    #[test]
    fn doubles_changed_bodies_and_forgeries_are_told_apart() {
        let (secret, mut inbox) = inbox();

        assert!(inbox.hear(&headers(&secret, "msg_1", b"one"), b"one"));
        assert!(inbox.hear(&headers(&secret, "msg_2", b"one"), b"one"));
        assert!(inbox.hear(&headers(&secret, "msg_1", b"one"), b"one"));
        assert!(inbox.hear(&headers(&secret, "msg_1", b"two"), b"two"));
        assert!(!inbox.hear(&headers(&secret, "msg_3", b"one"), b"two"));

        let counts = inbox.counts();
        assert_eq!((counts.received, counts.distinct, counts.doubled), (4, 2, 2));
        assert_eq!((counts.changed, counts.forged, counts.unstamped), (1, 1, 2));
    }

    #[test]
    fn what_was_due_a_second_ago_took_a_second_and_after_a_reset_nothing_is_known() {
        let (secret, mut inbox) = inbox();
        let body = format!("{{\"key\":\"wamid.HBgL{:019}000000000000x\"}}", clock::now() - 1_000_000_000);

        inbox.hear(&headers(&secret, "msg_1", body.as_bytes()), body.as_bytes());

        let took = inbox.counts().latency.max_us;
        assert!((1_000_000..5_000_000).contains(&took), "{took} µs");
        inbox.forget();
        assert_eq!((inbox.counts().received, inbox.counts().distinct, inbox.counts().latency.max_us), (0, 0, 0));
    }

    #[test]
    fn bodies_that_differ_in_one_byte_or_in_length_have_other_fingerprints() {
        let body = vec![b'a'; 100];
        let mut others: Vec<_> = (0..100).map(|place| [&body[..place], b"b", &body[place + 1..]].concat()).collect();
        others.extend([body[1..].to_vec(), [&body[..], b"\0"].concat(), Vec::new()]);

        assert!(others.iter().all(|other| fingerprint(other) != fingerprint(&body)));
    }
}
