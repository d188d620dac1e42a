//! The stream: requests as Meta would send them, without end, repeated and simultaneous as Meta's are.
//!
//! A [`Request`] is a function of the stream's seed and its number, and of nothing that happened before: the same seed
//! gives the same stream, and whoever has a number can have the request again. What a body must yield is known here by
//! how it was made ([`payload`]), not by what the pipeline under test reads in it.

mod payload;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use ring::hmac;

use self::payload::Item;

/// How many sources the stream is for; each request is for one of them.
pub(crate) const SOURCES: usize = 3;
/// What signs every request: the secret of every source.
pub(crate) const APP_SECRET: &str = "fixture-app-secret";
/// The number that every payload is about: a setting of every source, or of none.
pub(crate) const PHONE_NUMBER_ID: &str = "990000000000042";

/// How far back "just now" reaches, in requests.
const RECENT: u64 = 20;
/// What a batch holds, and what exceeds a worker's transaction (500 items).
const BATCH: usize = 50;
const LARGE: usize = 520;

/// An endless iterator of requests, numbered from 0.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    seed: u64,
    next: u64,
}

/// One request to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Its place in the stream.
    pub(crate) number: u64,
    /// Which of the [`SOURCES`] it is for.
    pub(crate) source: usize,
    /// The body, exactly as it is signed.
    pub(crate) body: Bytes,
    /// The value of `X-Hub-Signature-256`.
    pub(crate) signature: String,
    /// The ledger keys that this body yields, in order, each once. The same key may come in other requests too, and for
    /// another source, where it is another event.
    pub(crate) keys: Vec<String>,
    /// Correctly signed and no JSON: it must end in quarantine, whole.
    pub(crate) malformed: bool,
    /// How many connections send it at the same instant, at least one.
    pub(crate) at_once: usize,
    /// The first request that had this body, if this is a duplicate.
    pub(crate) again_of: Option<u64>,
}

impl Stream {
    /// The stream of this seed, from its beginning.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, next: 0 }
    }

    /// The request with this number: what the iterator gives, or gave, in its place.
    pub(crate) fn request(&self, number: u64) -> Request {
        let again_of = self.again_of(number);
        let original = again_of.unwrap_or(number);
        let malformed = self.is_malformed(original);
        let (body, keys) = if malformed {
            (
                Bytes::from(format!(r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{original}","#)),
                Vec::new(),
            )
        } else {
            payload::body(&self.items(original), original)
        };
        let mut random = self.random(number, "at once");
        let at_once = if random.random_bool(0.12) { random.random_range(2..=6) } else { 1 };
        let source = self.source(original);
        Request { number, source, signature: sign(&body), body, keys, malformed, at_once, again_of }
    }

    /// A quarter are duplicates: of what came just now, or of anything since the beginning.
    fn again_of(&self, number: u64) -> Option<u64> {
        let mut random = self.random(number, "again");
        if number == 0 || !random.random_bool(0.25) {
            return None;
        }
        let reach = if random.random_bool(0.6) { number.min(RECENT) } else { number };
        let earlier = number - random.random_range(1..=reach);
        Some(self.again_of(earlier).unwrap_or(earlier))
    }

    fn source(&self, original: u64) -> usize {
        self.random(original, "source").random_range(0..SOURCES)
    }

    fn is_malformed(&self, original: u64) -> bool {
        self.random(original, "malformed").random_bool(0.005)
    }

    /// What an original is made of: items of its own, one of them twice now and then, and one that came before in another.
    fn items(&self, original: u64) -> Vec<Item> {
        let mut items = self.own_items(original);
        let mut random = self.random(original, "repeats");
        if random.random_bool(0.02) {
            let repeated = items[random.random_range(0..items.len())].clone();
            items.insert(random.random_range(0..=items.len()), repeated);
        }
        if random.random_bool(0.03) {
            let same_source =
                |number: &u64| self.source(*number) == self.source(original) && !self.is_malformed(*number);
            let earlier = (original.saturating_sub(RECENT)..original).rev().find(same_source);
            items.extend(earlier.map(|earlier| self.own_items(earlier).swap_remove(0)));
        }
        items
    }

    fn own_items(&self, original: u64) -> Vec<Item> {
        let mut random = self.random(original, "items");
        let count = match random.random_range(0..1000) {
            0..4 => LARGE,
            4..40 => BATCH,
            40..200 => random.random_range(2..=4),
            _ => 1,
        };
        (0..count).map(|place| Item::new(self.seed, original, place, &mut random)).collect()
    }

    /// Dice of their own for each number and purpose.
    fn random(&self, number: u64, purpose: &str) -> SmallRng {
        let purpose = purpose.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31) + u64::from(byte));
        let mut of_seed = SmallRng::seed_from_u64(self.seed ^ purpose.rotate_left(32));
        SmallRng::seed_from_u64(of_seed.random::<u64>() ^ number)
    }
}

impl Iterator for Stream {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let request = self.request(self.next);
        self.next += 1;
        Some(request)
    }
}

impl Request {
    /// What the ledger must hold once, and only once, after this request was accepted: pairs of source and key. Which of
    /// them owe a delivery is for latchhook to say: a status that moves nothing owes nothing.
    pub(crate) fn owed(&self) -> impl Iterator<Item = (usize, &str)> {
        self.keys.iter().map(|key| (self.source, key.as_str()))
    }
}

/// Whether a key is that of a text, an image or an echo: whatever else is known, everybody who wants to hear of new messages
/// is owed to hear of it.
pub(crate) fn is_of_a_new_message(key: &str) -> bool {
    key.starts_with("wamid.HBgLin") || key.starts_with("echo:")
}

/// `X-Hub-Signature-256` as Meta computes it: over the exact bytes.
fn sign(body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, APP_SECRET.as_bytes()), body);
    tag.as_ref().iter().fold("sha256=".to_owned(), |mut text, byte| {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
