//! Standard Webhooks 1.0.0, scheme v1: how a customer knows that a delivery is ours and is not an old one sent again.
//!
//! What is signed is `{webhook-id}.{webhook-timestamp}.{body}`, by HMAC-SHA256. The id is the same on every attempt, the
//! timestamp is the attempt's. While secrets are rotated each of them signs, and one signature that fits is enough.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretString};

const PREFIX: &str = "whsec_";
const SCHEME: &str = "v1,";
/// How far a timestamp may be off, in seconds: what the published libraries allow.
const TOLERANCE: u64 = 300;

/// What signs: `whsec_` and 24 to 64 random bytes in base64.
#[derive(Clone)]
pub struct SigningSecret(hmac::Key);

/// Why a text is no signing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is whsec_ followed by 24 to 64 bytes in base64")]
pub struct SigningSecretError;

impl SigningSecret {
    /// Reads a secret as it is given to customers.
    ///
    /// # Errors
    /// When it does not begin with `whsec_`, is no base64, or has less than 24 or more than 64 bytes. An empty secret
    /// would sign for everybody.
    pub fn parse(text: &SecretString) -> Result<Self, SigningSecretError> {
        let encoded = text.expose_secret().strip_prefix(PREFIX).ok_or(SigningSecretError)?;
        let bytes = BASE64.decode(encoded).map_err(|_| SigningSecretError)?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(SigningSecretError);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// A fresh one of 32 bytes, as text.
    pub fn generate() -> SecretString {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).expect("the operating system has random bytes");
        format!("{PREFIX}{}", BASE64.encode(bytes)).into()
    }

    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("{SCHEME}{}", BASE64.encode(context.sign()))
    }

    fn verifies(&self, signed: &[u8], signature: &str) -> bool {
        let tag = signature.strip_prefix(SCHEME).and_then(|encoded| BASE64.decode(encoded).ok());
        tag.is_some_and(|tag| hmac::verify(&self.0, signed, &tag).is_ok())
    }
}

/// The value of `webhook-signature`: one signature per secret, `timestamp` in seconds since 1970.
pub fn signature(secrets: &[SigningSecret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signatures: Vec<_> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    signatures.join(" ")
}

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
    if signatures.any(|signature| secret.verifies(&signed, signature)) { Ok(id) } else { Err(VerifyError::Signature) }
}

fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, VerifyError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    value.filter(|_| values.next().is_none()).ok_or(VerifyError::Header(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Vector {
        secret: &'static str,
        id: &'static str,
        timestamp: i64,
        body: &'static str,
        signature: &'static str,
    }

    /// Published with the libraries of Standard Webhooks.
    const VECTORS: [Vector; 2] = [
        Vector {
            secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp: 1_614_265_330,
            body: r#"{"test": 2432232314}"#,
            signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        Vector {
            secret: "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            id: "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            timestamp: 1_649_367_553,
            body: r#"{"email":"test@example.com","username":"test_user"}"#,
            signature: "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        },
    ];

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::parse(&text.to_owned().into()).unwrap()
    }

    fn headers(id: &str, timestamp: i64, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", timestamp.into());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn the_published_vectors_are_signed_and_verified() {
        for vector in VECTORS {
            let secret = secret(vector.secret);

            let signed = signature(std::slice::from_ref(&secret), vector.id, vector.timestamp, vector.body.as_bytes());

            assert_eq!(signed, vector.signature);
            let headers = headers(vector.id, vector.timestamp, &signed);
            assert_eq!(verify(&secret, &headers, vector.body.as_bytes(), at(vector.timestamp + 299)), Ok(vector.id));
        }
    }

    #[test]
    fn the_library_that_customers_use_believes_what_we_sign() {
        let text = SigningSecret::generate();
        let now = Utc::now();

        let signed = signature(&[SigningSecret::parse(&text).unwrap()], "msg_1", now.timestamp(), b"{\"a\":1}");

        let library = standardwebhooks::Webhook::new(text.expose_secret()).unwrap();
        library.verify(b"{\"a\":1}", &headers("msg_1", now.timestamp(), &signed)).unwrap();
        assert!(library.verify(b"{\"a\":2}", &headers("msg_1", now.timestamp(), &signed)).is_err());
    }

    #[test]
    fn while_secrets_are_rotated_the_holder_of_either_is_content() {
        let (old, new) = (secret(VECTORS[0].secret), secret(VECTORS[1].secret));

        let signed = signature(&[old.clone(), new.clone()], "msg_1", 1000, b"{}");

        let headers = headers("msg_1", 1000, &signed);
        assert_eq!(verify(&old, &headers, b"{}", at(1000)), Ok("msg_1"));
        assert_eq!(verify(&new, &headers, b"{}", at(1000)), Ok("msg_1"));
    }

    #[test]
    fn nothing_is_believed_that_was_changed_or_is_old() {
        let secret = secret(VECTORS[0].secret);
        let signed = signature(std::slice::from_ref(&secret), "msg_1", 1000, b"{}");
        let good = headers("msg_1", 1000, &signed);

        let refusal = |headers: &HeaderMap, body: &[u8], now| verify(&secret, headers, body, at(now)).unwrap_err();

        assert_eq!(refusal(&good, b"{ }", 1000), VerifyError::Signature);
        assert_eq!(refusal(&headers("msg_2", 1000, &signed), b"{}", 1000), VerifyError::Signature);
        assert_eq!(refusal(&headers("msg_1", 1001, &signed), b"{}", 1000), VerifyError::Signature);
        assert_eq!(refusal(&good, b"{}", 1301), VerifyError::Timestamp);
        assert_eq!(refusal(&good, b"{}", 699), VerifyError::Timestamp);
        assert_eq!(refusal(&headers("msg_1", i64::MIN, &signed), b"{}", 1000), VerifyError::Timestamp);
        assert_eq!(refusal(&HeaderMap::new(), b"{}", 1000), VerifyError::Header("webhook-id"));
        let mut twice = good.clone();
        twice.append("webhook-signature", signed.parse().unwrap());
        assert_eq!(refusal(&twice, b"{}", 1000), VerifyError::Header("webhook-signature"));
    }

    #[test]
    fn what_was_signed_cannot_be_cut_into_another_id_and_another_body() {
        let secret = secret(VECTORS[0].secret);
        let signed = signature(std::slice::from_ref(&secret), "msg_1", 1000, b"1001.{}");

        let recut = headers("msg_1.1000", 1001, &signed);

        assert_eq!(verify(&secret, &recut, b"{}", at(1000)), Err(VerifyError::Id));
    }

    #[test]
    fn a_secret_that_is_too_short_to_protect_is_none() {
        let long = format!("whsec_{}", BASE64.encode([7; 65]));
        for bad in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%", long.as_str()] {
            assert!(SigningSecret::parse(&bad.to_owned().into()).is_err(), "{bad}");
        }
        assert!(SigningSecret::parse(&SigningSecret::generate()).is_ok());
    }
}
