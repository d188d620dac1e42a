//! What a customer does with a delivery before it believes it.

use chrono::{DateTime, Utc};
use http::HeaderMap;

use super::secret::{PublicKey, SigningSecret};

/// How far a timestamp may be off, in seconds: what the published libraries allow.
const TOLERANCE: u64 = 300;

/// Why a delivery is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A header is missing or there twice.
    #[error("the request must carry {0} exactly once")]
    Header(&'static str),
    /// A dot in the id: what was signed could then be cut into another id, another time and another body.
    #[error("webhook-id must not hold a dot")]
    Id,
    /// Older or newer than five minutes.
    #[error("webhook-timestamp is not within five minutes of now")]
    Timestamp,
    /// Nobody who knows the secret sent these bytes.
    #[error("no signature in webhook-signature fits")]
    Signature,
}

/// Checks a delivery as a customer does; gives its `webhook-id`, by which a customer recognises one that it has had.
///
/// # Errors
/// When a header is missing, the id holds a dot, the timestamp is more than five minutes off, or no signature fits.
pub fn verify<'a>(
    secret: &SigningSecret,
    headers: &'a HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<&'a str, VerifyError> {
    check(|signed, signature| secret.verifies(signed, signature), headers, body, now)
}

impl PublicKey {
    /// As [`verify`], for a customer who was given the public side.
    ///
    /// # Errors
    /// Likewise.
    pub fn verify<'a>(&self, headers: &'a HeaderMap, body: &[u8], now: DateTime<Utc>) -> Result<&'a str, VerifyError> {
        check(|signed, signature| self.verifies(signed, signature), headers, body, now)
    }
}

fn check<'a>(
    fits: impl Fn(&[u8], &str) -> bool,
    headers: &'a HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<&'a str, VerifyError> {
    let id = single(headers, "webhook-id")?;
    if id.contains('.') {
        return Err(VerifyError::Id);
    }
    let timestamp = single(headers, "webhook-timestamp")?;
    let seconds: i64 = timestamp.parse().map_err(|_| VerifyError::Timestamp)?;
    if now.timestamp().abs_diff(seconds) > TOLERANCE {
        return Err(VerifyError::Timestamp);
    }
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let mut signatures = single(headers, "webhook-signature")?.split(' ');
    if signatures.any(|signature| fits(&signed, signature)) { Ok(id) } else { Err(VerifyError::Signature) }
}

fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, VerifyError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    value.filter(|_| values.next().is_none()).ok_or(VerifyError::Header(name))
}
