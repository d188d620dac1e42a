//! Signatures and tokens, compared in constant time.
//!
//! What providers do differs in a few ways only: what is signed, with which algorithm, how the signature is written, and where
//! it stands. Each of these is a function here, and a provider's file puts them together. What many do in the same way is in
//! `hex_headers.rs`.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use crate::Verdict;

/// Why a request is not believed; for logs and counters.
pub(crate) type Doubt = &'static str;

/// No signature.
pub(crate) const MISSING: Doubt = "there is no signature";
/// One of two signatures: proxies disagree on which of two headers counts, so neither does.
pub(crate) const TWO: Doubt = "there is more than one signature";
/// No such text as a signature must be.
pub(crate) const MALFORMED: Doubt = "the signature is malformed";
/// Not over these bytes.
pub(crate) const OTHER: Doubt = "the signature is of other bytes or by another secret";
/// Nothing to verify with.
pub(crate) const NO_SECRET: Doubt = "the source has no secret";
/// Too old, or from the future.
pub(crate) const STALE: Doubt = "the signature is too old, or from the future";

/// Signatures that are looked at, each by every secret. Nobody rotates more keys at once, and a stranger could have us hash
/// megabytes a thousand times.
pub(crate) const MAX_SIGNATURES: usize = 16;

/// What a chain of doubts comes to.
pub(crate) fn verdict(believed: Result<(), Doubt>) -> Verdict {
    believed.map_or_else(Verdict::Forged, |()| Verdict::Genuine)
}

/// The secrets that are something: an empty one signs for anybody.
///
/// # Errors
/// When there is none.
pub(crate) fn usable(secrets: &[SecretString]) -> Result<Vec<&str>, Doubt> {
    let usable: Vec<_> = secrets.iter().map(ExposeSecret::expose_secret).filter(|secret| !secret.is_empty()).collect();
    if usable.is_empty() { Err(NO_SECRET) } else { Ok(usable) }
}

/// The value of a header that came once.
///
/// # Errors
/// When it is missing, came twice, or is no text.
pub(crate) fn only<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Doubt> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(MISSING)?;
    if values.next().is_some() {
        return Err(TWO);
    }
    value.to_str().map_err(|_| MALFORMED)
}

/// The same of a header that goes by more than one name: what comes under two of them came twice.
///
/// # Errors
/// When it is missing, came twice, or is no text.
pub(crate) fn only_of<'h>(headers: &'h HeaderMap, names: &[&str]) -> Result<&'h str, Doubt> {
    let mut there = names.iter().filter(|name| headers.contains_key(**name));
    let name = there.next().ok_or(MISSING)?;
    if there.next().is_some() { Err(TWO) } else { only(headers, name) }
}

/// The value of a parameter of the query that came once.
///
/// # Errors
/// When it is missing or came twice.
pub(crate) fn only_parameter<'q>(query: &'q [(String, String)], name: &str) -> Result<&'q str, Doubt> {
    let mut values = query.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let value = values.next().ok_or(MISSING)?;
    if values.next().is_some() { Err(TWO) } else { Ok(value) }
}

/// Whether one of the secrets fits.
///
/// # Errors
/// When none does.
pub(crate) fn one_of(secrets: &[&str], mut fits: impl FnMut(&str) -> bool) -> Result<(), Doubt> {
    if secrets.iter().any(|secret| fits(secret)) { Ok(()) } else { Err(OTHER) }
}

/// Whether the tag is the HMAC of these parts, one behind the other.
pub(crate) fn signed(algorithm: hmac::Algorithm, key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    let key = hmac::Key::new(algorithm, key);
    match parts {
        [whole] => hmac::verify(&key, whole, tag).is_ok(),
        parts => hmac::verify(&key, &parts.concat(), tag).is_ok(),
    }
}

/// The HMAC of these parts, one behind the other.
pub(crate) fn sign(algorithm: hmac::Algorithm, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), &parts.concat()).as_ref().to_vec()
}

/// Whether a time in seconds since 1970, as it was signed, is within so many of now, before it or after it. No time is too
/// large to be compared.
///
/// A number is written in one way only, with no zero before it: else a `0` of what is signed before it could be moved to it.
/// A fresh one has ten digits, from 2001 until 2286, so that none can be moved at all.
///
/// # Errors
/// When it is no such number, or not within.
pub(crate) fn fresh(seconds: &str, now: DateTime<Utc>, tolerance: TimeDelta) -> Result<(), Doubt> {
    is_near(seconds, now.timestamp(), tolerance.num_seconds())
}

/// The same of milliseconds since 1970.
///
/// # Errors
/// When it is no such number, or not within.
pub(crate) fn fresh_millis(millis: &str, now: DateTime<Utc>, tolerance: TimeDelta) -> Result<(), Doubt> {
    is_near(millis, now.timestamp_millis(), tolerance.num_milliseconds())
}

fn is_near(number: &str, now: i64, tolerance: i64) -> Result<(), Doubt> {
    let is_plain = number == "0" || !number.starts_with('0');
    let is_number = (1..=20).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let signed_at: i128 = (is_plain && is_number).then(|| number.parse().ok()).flatten().ok_or(MALFORMED)?;
    let apart = (i128::from(now) - signed_at).abs();
    if apart <= i128::from(tolerance) { Ok(()) } else { Err(STALE) }
}

/// The same of a date and time as RFC 3339 writes it.
///
/// # Errors
/// When it is none, is before 1970, or is not within.
pub(crate) fn fresh_date(date: &str, now: DateTime<Utc>, tolerance: TimeDelta) -> Result<(), Doubt> {
    let at = DateTime::parse_from_rfc3339(date).map_err(|_| MALFORMED)?;
    fresh(&at.timestamp().to_string(), now, tolerance)
}

/// Whether two texts are equal, in a time that says nothing of where they differ.
///
/// ring keeps its own comparison to itself, so both are hashed under one key, and the hashes compared.
pub(crate) fn same(given: &str, expected: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"same");
    hmac::verify(&key, expected.as_bytes(), hmac::sign(&key, given.as_bytes()).as_ref()).is_ok()
}

/// Bytes from digits of either case.
pub(crate) fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok();
    let is_even = digits.len().is_multiple_of(2);
    is_even.then(|| digits.as_bytes().chunks_exact(2).map(pair).collect()).flatten()
}

/// Digits in lower case.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let digit = |number: u8| char::from(b"0123456789abcdef"[usize::from(number & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Bytes from base64 with its padding (RFC 4648, section 4).
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// The same of either alphabet (RFC 4648, sections 4 and 5), with its padding or without.
pub(crate) fn from_any_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.replace('-', "+").replace('_', "/");
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

/// Base64 with its padding.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_time_is_fresh_up_to_its_tolerance_before_and_after_now_and_no_number_overflows() {
        let fresh = |seconds| fresh(seconds, at(1_000), TimeDelta::seconds(300));

        assert_eq!(["700", "1000", "1300"].map(fresh), [Ok(()); 3]);
        assert_eq!(["699", "1301", "0", "18446744073709551615", "99999999999999999999"].map(fresh), [Err(STALE); 5]);
        assert_eq!(["", "-1", "+1000", "1000.0", " 1000", "100000000000000000000"].map(fresh), [Err(MALFORMED); 6]);
        assert_eq!(["01000", "00", "1000 ", "1_000", "１０００", "1e3"].map(fresh), [Err(MALFORMED); 6]);
    }

    #[test]
    fn bytes_come_back_from_digits_of_either_case_and_nothing_else_is_digits() {
        let bytes = [0, 1, 0x7f, 0xff];

        assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes.to_vec()));
        assert_eq!(from_hex("00017FfF"), Some(bytes.to_vec()));
        assert_eq!(["0", "0g", "é", "+1"].map(from_hex), [const { None }; 4]);
    }

    #[test]
    fn milliseconds_are_fresh_for_as_long_as_seconds_are() {
        let fresh = |millis| fresh_millis(millis, at(1_000), TimeDelta::seconds(300));

        assert_eq!(["700000", "1300000"].map(fresh), [Ok(()); 2]);
        assert_eq!(["699999", "1300001", "1000", "99999999999999999999"].map(fresh), [Err(STALE); 4]);
        assert_eq!(["", "01000000", "-1", "1000000.0"].map(fresh), [Err(MALFORMED); 4]);
    }

    #[test]
    fn base64_is_read_in_either_alphabet_with_its_padding_or_without() {
        let written = ["+/8=", "+/8", "-_8=", "-_8"].map(from_any_base64);

        assert!(written.iter().all(|bytes| bytes.as_deref() == Some(&[0xfb, 0xff])), "{written:?}");
        assert_eq!(["+/8 ", "+", "*", "é"].map(from_any_base64), [const { None }; 4]);
    }
}
