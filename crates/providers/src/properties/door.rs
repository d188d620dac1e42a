//! What comes in, and what does not.

use chrono::DateTime;
use http::{HeaderMap, HeaderValue};
use ring::hmac;

use super::{SECRET, VERIFY_TOKEN, source};
use crate::{Handshake, Provider, Request, Verdict};

const SIGNATURE: &str = "x-hub-signature-256";

/// Nothing is genuine but one header that holds `sha256=` and the body's HMAC, in digits of either case.
///
/// In `headers` (one a line) `%` stands for the right digits and `^` for them in capitals, which no fuzzer guesses.
pub fn signature(headers: &[u8], body: &[u8]) {
    let right: String = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let spelt_out = |header: &[u8]| {
        let bytes = header.iter().flat_map(|byte| match byte {
            b'%' => right.clone().into_bytes(),
            b'^' => right.to_ascii_uppercase().into_bytes(),
            other => vec![*other],
        });
        bytes.collect::<Vec<u8>>()
    };
    let given: Vec<_> = headers.split(|byte| *byte == b'\n').map(spelt_out).collect();
    let values = given.iter().filter_map(|value| HeaderValue::from_bytes(value).ok());
    let headers: HeaderMap = values.map(|value| (SIGNATURE.parse().expect("a header"), value)).collect();

    let verdict = Provider::WhatsApp.verify(&source(None), &Request::posted(&headers, body, DateTime::UNIX_EPOCH));

    let values: Vec<_> = headers.get_all(SIGNATURE).iter().map(HeaderValue::as_bytes).collect();
    let is_right = matches!(values[..], [value] if value.strip_prefix(b"sha256=").is_some_and(
        |digits| digits.eq_ignore_ascii_case(right.as_bytes())
    ));
    assert_eq!(verdict == Verdict::Genuine, is_right, "{values:?} with {right}: {verdict:?}");
}

/// The challenge comes back as it was given, to whoever gives it, the token and the mode, each once; to nobody else.
pub fn handshake(query: &[(String, String)]) {
    let values = |name: &str| query.iter().filter(|pair| pair.0 == name).map(|pair| &pair.1[..]).collect::<Vec<_>>();
    let (mode, token, challenge) = (values("hub.mode"), values("hub.verify_token"), values("hub.challenge"));
    let is_right = mode == ["subscribe"] && token == [VERIFY_TOKEN] && challenge.len() == 1 && challenge != [""];

    let answer = Provider::WhatsApp.handshake(&source(None), query);

    let expected = if is_right { Handshake::Answer(challenge[0].to_owned()) } else { Handshake::Refused };
    assert_eq!(answer, expected, "{query:?}");
}
