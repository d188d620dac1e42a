//! HMAC-SHA256 in hexadecimal, in a header: what many providers do, each with its own names.

use chrono::{DateTime, TimeDelta, Utc};
use ring::hmac::HMAC_SHA256;
use secrecy::SecretString;

use crate::{
    Request, Verdict,
    request::Signed,
    signature::{
        Doubt, MALFORMED, MAX_SIGNATURES, OTHER, fresh, from_hex, one_of, only, sign, signed, to_hex, usable, verdict,
    },
};

/// Where a provider puts its HMAC-SHA256 of the body, in hexadecimal: `X-Hub-Signature-256: sha256=<64 digits>`.
pub(crate) struct HexHmac {
    /// The header's name, in lower case.
    pub header: &'static str,
    /// What stands before the digits.
    pub prefix: &'static str,
}

impl HexHmac {
    /// Whether one of the secrets signed the body.
    pub(crate) fn verify(&self, secrets: &[SecretString], request: &Request<'_>) -> Verdict {
        let verify = || {
            let secrets = usable(secrets)?;
            let given = only(request.headers, self.header)?;
            let tag = given.strip_prefix(self.prefix).and_then(from_hex).ok_or(MALFORMED)?;
            one_of(&secrets, |secret| signed(HMAC_SHA256, secret.as_bytes(), &[request.body], &tag))
        };
        verdict(verify())
    }

    /// The header's value for a body.
    pub(crate) fn sign(&self, secret: &str, body: &[u8]) -> String {
        format!("{}{}", self.prefix, to_hex(&sign(HMAC_SHA256, secret.as_bytes(), &[body])))
    }
}

/// Where a provider puts a time and its HMAC-SHA256 of that time and the body, in hexadecimal, as a list in one header:
/// `Stripe-Signature: t=<seconds>,v1=<64 digits>`.
pub(crate) struct TimedHex {
    /// The header's name, in lower case.
    pub header: &'static str,
    /// What stands between two members of the list.
    pub separator: char,
    /// The name of the member that is the time, in seconds since 1970. There must be one.
    pub time: &'static str,
    /// The name of those that are signatures. One that cannot be read spoils none that can; others are not looked at.
    pub tag: &'static str,
    /// What stands between time and body in what is signed.
    pub joint: &'static str,
    /// How far from now the time may be.
    pub tolerance: TimeDelta,
}

impl TimedHex {
    /// Whether one of the secrets signed the time and the body, not long ago.
    pub(crate) fn verify(&self, secrets: &[SecretString], request: &Request<'_>) -> Verdict {
        let verify = || {
            let secrets = usable(secrets)?;
            let (time, tags) = self.read(only(request.headers, self.header)?)?;
            fresh(time, request.now, self.tolerance)?;
            let parts = [time.as_bytes(), self.joint.as_bytes(), request.body];
            one_of(&secrets, |secret| tags.iter().any(|tag| signed(HMAC_SHA256, secret.as_bytes(), &parts, tag)))
        };
        verdict(verify())
    }

    /// The header's value for a body that is signed at this moment.
    pub(crate) fn sign(&self, secret: &str, body: &[u8], now: DateTime<Utc>) -> String {
        let Self { separator, time, tag, joint, .. } = self;
        let seconds = now.timestamp().to_string();
        let signature = sign(HMAC_SHA256, secret.as_bytes(), &[seconds.as_bytes(), joint.as_bytes(), body]);
        format!("{time}={seconds}{separator}{tag}={}", to_hex(&signature))
    }

    /// The time, and the signatures that can be read.
    fn read<'h>(&self, list: &'h str) -> Result<(&'h str, Vec<Vec<u8>>), Doubt> {
        let members: Option<Vec<_>> = list.split(self.separator).map(|member| member.split_once('=')).collect();
        let members = members.ok_or(MALFORMED)?;
        let named = |wanted| members.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| *value);
        let mut times = named(self.time);
        let time = times.next().filter(|_| times.next().is_none()).ok_or(MALFORMED)?;
        let tags: Vec<_> = named(self.tag).filter_map(from_hex).collect();
        if (1..=MAX_SIGNATURES).contains(&tags.len()) { Ok((time, tags)) } else { Err(MALFORMED) }
    }
}

/// Where a provider puts its HMAC-SHA256 of a version, a time and the body, in hexadecimal, and the time in a header of its
/// own: `X-Slack-Signature: v0=<64 digits>` and `X-Slack-Request-Timestamp: <seconds>`, of `v0:<seconds>:<body>`.
pub(crate) struct StampedHex {
    /// The header with the signature, in lower case.
    pub header: &'static str,
    /// The header with the time, in seconds since 1970, in lower case.
    pub time: &'static str,
    /// What stands before the digits with a `=`, and before the time with a `:` in what is signed.
    pub version: &'static str,
    /// How far from now the time may be.
    pub tolerance: TimeDelta,
}

impl StampedHex {
    /// Whether one of the secrets signed the time and the body, not long ago.
    pub(crate) fn verify(&self, secrets: &[SecretString], request: &Request<'_>) -> Verdict {
        verdict(self.signer(secrets, request).map(|_| ()))
    }

    /// The secret that did: an answer that is to be signed must be signed with the same.
    ///
    /// # Errors
    /// When none did.
    pub(crate) fn signer<'s>(&self, secrets: &'s [SecretString], request: &Request<'_>) -> Result<&'s str, Doubt> {
        let secrets = usable(secrets)?;
        let (given, time) = (only(request.headers, self.header)?, only(request.headers, self.time)?);
        let digits = given.strip_prefix(self.version).and_then(|rest| rest.strip_prefix('='));
        let tag = digits.and_then(from_hex).ok_or(MALFORMED)?;
        fresh(time, request.now, self.tolerance)?;
        let parts = self.parts(time, request.body);
        let fits = |secret: &&str| signed(HMAC_SHA256, secret.as_bytes(), &parts, &tag);
        secrets.into_iter().find(fits).ok_or(OTHER)
    }

    /// JSON that is signed at this moment.
    pub(crate) fn signed(&self, secret: &str, body: String, now: DateTime<Utc>) -> Option<Signed> {
        let seconds = now.timestamp().to_string();
        let tag = to_hex(&sign(HMAC_SHA256, secret.as_bytes(), &self.parts(&seconds, body.as_bytes())));
        Signed::json(body, &[(self.header, &format!("{}={tag}", self.version)), (self.time, &seconds)])
    }

    fn parts<'r>(&self, time: &'r str, body: &'r [u8]) -> [&'r [u8]; 5] {
        [self.version.as_bytes(), b":", time.as_bytes(), b":", body]
    }
}
