//! What signs: a secret of either scheme, and the public side that v1a has.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, ED25519_PUBLIC_KEY_LEN, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use secrecy::{ExposeSecret, SecretString};

const SYMMETRIC: &str = "whsec_";
const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";
/// Of an Ed25519 private key, in bytes: RFC 8032, 5.1.5.
const SEED_LEN: usize = 32;

/// What signs: `whsec_` and 24 to 64 random bytes in base64 (v1), or `whsk_` and an Ed25519 key in base64 (v1a).
#[derive(Clone)]
pub struct SigningSecret(Kind);

#[derive(Clone)]
enum Kind {
    V1(hmac::Key),
    V1a(Arc<Ed25519KeyPair>),
}

/// How a secret signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HMAC-SHA256: who verifies could sign as well.
    V1,
    /// Ed25519: who verifies has the public side only.
    V1a,
}

/// The public side of a v1a secret: `whpk_` and 32 bytes in base64. It is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; ED25519_PUBLIC_KEY_LEN]);

/// Why a text is no signing secret, or no public side of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningSecretError {
    /// Another prefix, or none.
    #[error("a signing secret begins with whsec_ (v1) or whsk_ (v1a, ed25519)")]
    Prefix,
    /// A public key where a secret must be.
    #[error("whpk_ is the public side, which signs nothing: give the whsk_ that belongs to it")]
    Public,
    /// An empty secret would sign for everybody.
    #[error("a signing secret of v1 is whsec_ followed by 24 to 64 bytes in base64")]
    Symmetric,
    /// The spec says base64 and no more. The published vector has the public key behind the seed, as libsodium keeps it;
    /// RFC 8032 calls the seed alone the private key.
    #[error(
        "a signing secret of v1a is whsk_ followed by an ed25519 key in base64: 32 bytes, or 64 with its public key"
    )]
    Private,
    /// The second half is not what the first makes.
    #[error("the public key in this whsk_ belongs to another key: it is damaged or put together wrongly")]
    Mismatch,
    /// No public side.
    #[error("the public side of a v1a secret is whpk_ followed by 32 bytes in base64")]
    PublicKey,
}

impl SigningSecret {
    /// Reads a secret in the form of Standard Webhooks.
    ///
    /// # Errors
    /// When its prefix is of no scheme, what follows is no base64, a v1 secret has less than 24 or more than 64 bytes, or a
    /// v1a secret is neither a seed nor a seed with the public key that belongs to it.
    pub fn parse(text: &SecretString) -> Result<Self, SigningSecretError> {
        let text = text.expose_secret();
        if let Some(encoded) = text.strip_prefix(SYMMETRIC) {
            return symmetric(encoded);
        }
        match text.strip_prefix(PRIVATE) {
            Some(encoded) => private(encoded),
            None if text.starts_with(PUBLIC) => Err(SigningSecretError::Public),
            None => Err(SigningSecretError::Prefix),
        }
    }

    /// A fresh one of v1, of 32 bytes, as text.
    pub fn generate() -> SecretString {
        format!("{SYMMETRIC}{}", BASE64.encode(random())).into()
    }

    /// A fresh one of v1a, as text: the seed with its public key behind it, as in the published vector.
    pub fn generate_ed25519() -> SecretString {
        let seed = random();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed is any 32 bytes");
        format!("{PRIVATE}{}", BASE64.encode([&seed, pair.public_key().as_ref()].concat())).into()
    }

    /// How it signs.
    pub fn scheme(&self) -> Scheme {
        match self.0 {
            Kind::V1(_) => Scheme::V1,
            Kind::V1a(_) => Scheme::V1a,
        }
    }

    /// What a customer verifies with who must not be able to sign; v1 has no such thing.
    pub fn public_key(&self) -> Option<PublicKey> {
        match &self.0 {
            Kind::V1(_) => None,
            Kind::V1a(pair) => pair.public_key().as_ref().try_into().ok().map(PublicKey),
        }
    }

    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp}.");
        let mut signature = format!("{},", self.scheme().as_str());
        match &self.0 {
            Kind::V1(key) => {
                let mut context = hmac::Context::with_key(key);
                context.update(head.as_bytes());
                context.update(body);
                BASE64.encode_string(context.sign(), &mut signature);
            }
            // It is read twice, so it must be at hand in one piece.
            Kind::V1a(pair) => {
                BASE64.encode_string(pair.sign(&[head.as_bytes(), body].concat()), &mut signature);
            }
        }
        signature
    }

    pub(super) fn verifies(&self, signed: &[u8], signature: &str) -> bool {
        match &self.0 {
            Kind::V1(key) => bytes_of(Scheme::V1, signature).is_some_and(|tag| hmac::verify(key, signed, &tag).is_ok()),
            Kind::V1a(_) => self.public_key().is_some_and(|key| key.verifies(signed, signature)),
        }
    }
}

fn symmetric(encoded: &str) -> Result<SigningSecret, SigningSecretError> {
    let bytes = BASE64.decode(encoded).map_err(|_| SigningSecretError::Symmetric)?;
    if !(24..=64).contains(&bytes.len()) {
        return Err(SigningSecretError::Symmetric);
    }
    Ok(SigningSecret(Kind::V1(hmac::Key::new(hmac::HMAC_SHA256, &bytes))))
}

fn private(encoded: &str) -> Result<SigningSecret, SigningSecretError> {
    let bytes = BASE64.decode(encoded).map_err(|_| SigningSecretError::Private)?;
    let (seed, public) = bytes.split_at_checked(SEED_LEN).ok_or(SigningSecretError::Private)?;
    let pair = match public.len() {
        0 => Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SigningSecretError::Private),
        ED25519_PUBLIC_KEY_LEN => {
            Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| SigningSecretError::Mismatch)
        }
        _ => Err(SigningSecretError::Private),
    };
    Ok(SigningSecret(Kind::V1a(Arc::new(pair?))))
}

impl PublicKey {
    /// Reads the public side as customers are given it.
    ///
    /// # Errors
    /// When it does not begin with `whpk_`, is no base64, or is not 32 bytes.
    pub fn parse(text: &str) -> Result<Self, SigningSecretError> {
        let bytes = text.strip_prefix(PUBLIC).and_then(|encoded| BASE64.decode(encoded).ok());
        let key = bytes.and_then(|bytes| bytes.try_into().ok());
        key.map(Self).ok_or(SigningSecretError::PublicKey)
    }

    pub(super) fn verifies(&self, signed: &[u8], signature: &str) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        bytes_of(Scheme::V1a, signature).is_some_and(|bytes| key.verify(signed, &bytes).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", BASE64.encode(self.0))
    }
}

impl Scheme {
    /// As `webhook-signature` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
        }
    }
}

/// What stands behind the name of a scheme in `webhook-signature`.
fn bytes_of(scheme: Scheme, signature: &str) -> Option<Vec<u8>> {
    let (name, encoded) = signature.split_once(',')?;
    if name == scheme.as_str() { BASE64.decode(encoded).ok() } else { None }
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}
