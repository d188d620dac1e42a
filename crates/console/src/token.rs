//! The bearer token of the API (RFC 6750, 2.1: `Authorization: Bearer <token>`).

use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretString};
use vocabulary::bearer;

/// Characters. Fewer could be guessed, by somebody with time.
const LEAST: usize = 16;

/// What a request must show. It is not kept, but for a hash under a key of this process's own: two hashes can be compared in
/// a time that says nothing of where the tokens differ.
#[derive(Clone)]
pub struct Token {
    key: hmac::Key,
    tag: hmac::Tag,
}

/// Why a text is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an API token is {LEAST} characters or more, without spaces: make one and keep it (head -c 32 /dev/urandom | base64)"
)]
pub struct TokenError;

impl Token {
    /// Reads a token as the operator gives it.
    ///
    /// # Errors
    /// When it is shorter than 16 characters, or holds what a header cannot carry: anything but visible ASCII.
    pub fn parse(text: &SecretString) -> Result<Self, TokenError> {
        let text = text.expose_secret();
        if text.len() < LEAST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError);
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| TokenError)?;
        Ok(Self { tag: hmac::sign(&key, text.as_bytes()), key })
    }

    /// A fresh one of 32 bytes, as text.
    pub fn generate() -> SecretString {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).expect("the operating system has random bytes");
        BASE64.encode(bytes).into()
    }

    /// Whether a request shows it.
    pub(crate) fn is_shown(&self, headers: &HeaderMap) -> bool {
        let given = bearer(headers.get_all(AUTHORIZATION).iter().map(|value| value.to_str().ok()));
        given.is_some_and(|given| hmac::verify(&self.key, given.as_bytes(), self.tag.as_ref()).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const GOOD: &str = "0123456789abcdef";

    fn parse(text: &str) -> Result<Token, TokenError> {
        Token::parse(&text.to_owned().into())
    }

    fn shows(values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        parse(GOOD).unwrap().is_shown(&headers)
    }

    #[test]
    fn a_token_is_shown_whole_once_and_as_a_bearers() {
        assert!(shows(&["Bearer 0123456789abcdef"]) && shows(&["bearer 0123456789abcdef"]));

        for wrong in
            ["Bearer 0123456789abcdeg", "Bearer 0123456789abcde", "Bearer ", "Bearer", "Basic 0123456789abcdef"]
        {
            assert!(!shows(&[wrong]), "{wrong}");
        }
        assert!(!shows(&[]) && !shows(&["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"]));
    }

    #[test]
    fn what_could_be_guessed_or_no_header_can_carry_is_no_token() {
        for bad in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdef\n", "0123456789abcdeé"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
