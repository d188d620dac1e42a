//! Standard Webhooks 1.0.0, schemes v1 and v1a: how a customer knows that a delivery is ours and is not an old one sent
//! again.
//!
//! What is signed is `{webhook-id}.{webhook-timestamp}.{body}`: v1 by HMAC-SHA256, with a secret that the customer has too;
//! v1a by Ed25519 (RFC 8032), of which the customer has the public side only and can make no delivery itself. The id is the
//! same on every attempt, the timestamp is the attempt's. While secrets are rotated each of them signs, whatever its scheme,
//! and one signature that fits is enough.

mod secret;
#[cfg(test)]
mod tests;
mod verify;

pub use secret::{PublicKey, Scheme, SigningSecret, SigningSecretError};
pub use verify::{VerifyError, verify};

/// The value of `webhook-signature`: one signature per secret, `timestamp` in seconds since 1970.
pub fn signature<'a>(
    secrets: impl IntoIterator<Item = &'a SigningSecret>,
    id: &str,
    timestamp: i64,
    body: &[u8],
) -> String {
    let mut signatures = secrets.into_iter().map(|secret| secret.sign(id, timestamp, body));
    let first = signatures.next().unwrap_or_default();
    signatures.fold(first, |all, next| all + " " + &next)
}
