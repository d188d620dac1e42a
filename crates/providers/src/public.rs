//! Public keys, and what their other halves signed.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};

use crate::signature::from_base64;

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Ed25519 (RFC 8032). Its signatures are 64 bytes.
    Ed25519,
    /// ECDSA over P-256 with SHA-256. Its signatures are DER (RFC 3279, section 2.2.3).
    P256,
    /// RSA with SHA-256 and the padding of PKCS #1 v1.5 (RFC 8017, section 8.2), of 2048 bits at least.
    Rsa,
}

impl Scheme {
    /// Whether the key's other half signed these parts, one behind the other. The key is as [`Scheme::key_of`] gives it.
    pub(crate) fn verifies(self, key: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm(), key).verify(&parts.concat(), signature).is_ok()
    }

    /// The key in a SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7) of this algorithm; `None` for any other.
    pub(crate) fn key_of(self, info: &[u8]) -> Option<&[u8]> {
        let (info, nothing) = der(info, SEQUENCE)?;
        let key = info.strip_prefix(self.identifier())?;
        let (key, nothing_more) = der(key, BIT_STRING)?;
        (nothing.is_empty() && nothing_more.is_empty()).then(|| key.strip_prefix(&[0])).flatten()
    }

    /// Whether these bytes can be such a key, as [`Scheme::key_of`] gives it. Of RSA that is a structure (RFC 8017, A.1.1), of
    /// P-256 a point that is not compressed: no other is taken.
    pub(crate) fn takes(self, key: &[u8]) -> bool {
        match self {
            Self::Ed25519 => key.len() == 32,
            Self::P256 => key.len() == 65 && key[0] == 4,
            Self::Rsa => der(key, SEQUENCE).is_some_and(|(_, nothing)| nothing.is_empty()),
        }
    }

    fn algorithm(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Ed25519 => &ED25519,
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::Rsa => &RSA_PKCS1_2048_8192_SHA256,
        }
    }

    /// The AlgorithmIdentifier, in DER: RFC 8410 for Ed25519, RFC 5480 for P-256, RFC 3279 for RSA.
    fn identifier(self) -> &'static [u8] {
        match self {
            Self::Ed25519 => b"\x30\x05\x06\x03\x2b\x65\x70",
            Self::P256 => b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
            Self::Rsa => b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00",
        }
    }
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// What the first DER value holds, and what follows it. A key is no longer than two bytes of length can say.
fn der(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (len, rest) = match bytes.strip_prefix(&[tag])? {
        [len @ 0..=0x7f, rest @ ..] => (usize::from(*len), rest),
        [0x81, len, rest @ ..] => (usize::from(*len), rest),
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    rest.split_at_checked(len)
}

/// The bytes of a public key in PEM (RFC 7468, section 13).
pub(crate) fn from_pem(text: &str) -> Option<Vec<u8>> {
    let (key, rest) = first_in_pem(text, "PUBLIC KEY")?;
    rest.is_empty().then_some(key)
}

/// The bytes of what a text in PEM (RFC 7468, section 2) begins with, and what follows it.
pub(crate) fn first_in_pem<'t>(text: &'t str, label: &str) -> Option<(Vec<u8>, &'t str)> {
    let inside = text.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let (inside, rest) = inside.split_once(&format!("-----END {label}-----"))?;
    let base64: String = inside.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    Some((from_base64(&base64)?, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_own_info_and_in_nothing_that_is_cut_or_longer_or_of_another_algorithm() {
        let info = [Scheme::Ed25519.identifier(), b"\x03\x21\x00", &[7; 32]].concat();
        let info = [b"\x30\x2a", &info[..]].concat();

        assert_eq!(Scheme::Ed25519.key_of(&info), Some(&[7; 32][..]));
        assert_eq!(Scheme::P256.key_of(&info), None);
        assert_eq!(Scheme::Ed25519.key_of(&[&info[..], b"\0"].concat()), None);
        for cut in 0..info.len() {
            assert_eq!(Scheme::Ed25519.key_of(&info[..cut]), None);
        }
    }
}
