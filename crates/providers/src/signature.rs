//! Signatures and tokens, compared in constant time.

use http::HeaderMap;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use crate::Verdict;

/// Where a provider puts its HMAC-SHA256, in hexadecimal: `X-Hub-Signature-256: sha256=<64 digits>`.
pub(crate) struct HexHmac {
    /// The header's name, in lower case.
    pub header: &'static str,
    /// What stands before the digits.
    pub prefix: &'static str,
}

impl HexHmac {
    /// Whether one of the secrets signed the body. Whatever is odd about the header is a forgery.
    pub(crate) fn verify(&self, secrets: &[SecretString], headers: &HeaderMap, body: &[u8]) -> Verdict {
        let mut usable = secrets.iter().map(ExposeSecret::expose_secret).filter(|secret| !secret.is_empty()).peekable();
        if usable.peek().is_none() {
            return Verdict::Forged("the source has no secret");
        }
        match self.tag(headers) {
            Ok(tag) if usable.any(|secret| hmac::verify(&key(secret), body, &tag).is_ok()) => Verdict::Genuine,
            Ok(_) => Verdict::Forged("the signature is of other bytes or by another secret"),
            Err(reason) => Verdict::Forged(reason),
        }
    }

    fn tag(&self, headers: &HeaderMap) -> Result<[u8; 32], &'static str> {
        let mut values = headers.get_all(self.header).iter();
        let value = values.next().ok_or("there is no signature")?;
        // Proxies disagree on which of two headers counts, so neither does.
        if values.next().is_some() {
            return Err("there is more than one signature");
        }
        let digits = value.to_str().ok().and_then(|value| value.strip_prefix(self.prefix));
        digits.and_then(decode_hex).ok_or("the signature is malformed")
    }
}

/// Whether two texts are equal, in a time that says nothing of where they differ.
///
/// ring keeps its own comparison to itself, so both are hashed under one key, and the hashes compared.
pub(crate) fn same(given: &str, expected: &str) -> bool {
    let key = key("same");
    hmac::verify(&key, expected.as_bytes(), hmac::sign(&key, given.as_bytes()).as_ref()).is_ok()
}

fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

fn decode_hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let digit = |index: usize| char::from(pair[index]).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(bytes)
}
