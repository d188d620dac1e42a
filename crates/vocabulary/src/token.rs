//! What an app shows that enqueues over HTTP: the bearer token of a source (RFC 6750, 2.1).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// What tokens begin with, so that whoever finds one in a log knows what it is.
const PREFIX: &str = "lhtok_";
/// No secret: it only keeps these hashes apart from all other ones.
const DOMAIN: &[u8] = b"latchhook source token";

/// A token as it is kept: a hash, from which nobody can make the token. That is enough because a token is 32 random bytes,
/// which nobody tries out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// A fresh token of 32 random bytes, to be printed once, and what is kept of it.
    pub fn generate() -> (SecretString, Self) {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).expect("the operating system has random bytes");
        let token = SecretString::from(format!("{PREFIX}{}", BASE64.encode(bytes)));
        let hash = Self::of(&token);
        (token, hash)
    }

    /// What is kept of this token.
    pub fn of(token: &SecretString) -> Self {
        let tag = hmac::sign(&key(), token.expose_secret().as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(tag.as_ref());
        Self(hash)
    }

    /// A hash as a column holds it; `None` when it is none.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As bytes, for a column.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the token, in a time that says nothing of where the two differ.
    pub fn is_of(&self, shown: &[u8]) -> bool {
        hmac::verify(&key(), shown, &self.0).is_ok()
    }
}

/// The token that a request shows (`Authorization: Bearer <token>`), by the values of that header; `None` is one that is no
/// visible ASCII. Proxies disagree on which of two headers counts, so neither does.
pub fn bearer<'h>(mut authorizations: impl Iterator<Item = Option<&'h str>>) -> Option<&'h str> {
    let shown = authorizations.next().flatten().and_then(|value| value.split_once(' '));
    let token = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
    token.filter(|_| authorizations.next().is_none())
}

fn key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, DOMAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_its_own_token_and_of_no_other() {
        let ((first, kept), (second, _)) = (TokenHash::generate(), TokenHash::generate());

        let again = TokenHash::from_slice(kept.as_slice()).unwrap();

        assert!(first.expose_secret().starts_with("lhtok_") && first.expose_secret().len() == 6 + 43);
        assert!(again.is_of(first.expose_secret().as_bytes()));
        assert!(!again.is_of(second.expose_secret().as_bytes()) && !again.is_of(b"") && !again.is_of(kept.as_slice()));
        assert_eq!(TokenHash::from_slice(b"short"), None);
    }
}
