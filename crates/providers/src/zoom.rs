//! Zoom's webhooks.
//!
//! * An event has no id: it is known by all that it says, which a retry repeats. Its time, in milliseconds, is part of that.
//! * The URL is taken once it has signed a token (`endpoint.url_validation`), and is asked again every 72 hours. With two secrets
//!   the one that signed the question must sign the answer.

use std::time::Duration;

use chrono::TimeDelta;
use ring::hmac::HMAC_SHA256;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Answer, Request, Sample, Verdict,
    hex_headers::StampedHex,
    json::unix_millis,
    request::Signed,
    rules::Rules,
    signature::{sign, to_hex},
    single::{self, Single},
};

/// Zoom's webhooks.
pub(crate) struct Zoom;

/// What is sent again comes two hours later at most, and the page does not say whether it is signed anew. So what is old is
/// still taken for that long: it is known by what it says, and recorded once.
const SIGNATURE: StampedHex = StampedHex {
    header: "x-zm-signature",
    time: "x-zm-request-timestamp",
    version: "v0",
    tolerance: TimeDelta::minutes(130),
};

const ABOUT: About = About {
    name: "zoom",
    title: "Zoom",
    page: "https://developers.zoom.us/docs/api/webhooks/",
    secret: "the Secret Token of the app: marketplace.zoom.us, Manage, your app, Access, Token",
    url: "marketplace.zoom.us, Manage, your app, Access, Event Subscription, Event notification endpoint URL, then Validate",
    verify_token: None,
    signature: "x-zm-signature: HMAC-SHA256 of v0, x-zm-request-timestamp and the body, hexadecimal; taken for 130 minutes",
    key: "the SHA-256 of the body's content, which has no id",
    // After 5, 30 and 90 minutes.
    repeats_for: Some(Duration::from_mins(125)),
    kept_headers: &[SIGNATURE.header, SIGNATURE.time],
    // It names no limit.
    body_limit: 3 * 1024 * 1024,
    settings: &[],
};

/// What decides about the answer.
#[derive(Deserialize)]
struct Asked {
    event: String,
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "plainToken")]
    token: String,
}

impl Rules for Zoom {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        SIGNATURE.verify(&source.secrets, request)
    }

    fn greeting(&self, source: &Source, request: &Request<'_>) -> Option<Answer> {
        let Asked { event, payload } = serde_json::from_slice(request.body).ok()?;
        let asks = event == "endpoint.url_validation";
        let secret = asks.then(|| SIGNATURE.signer(&source.secrets, request).ok()).flatten()?;
        let tag = to_hex(&sign(HMAC_SHA256, secret.as_bytes(), &[payload.token.as_bytes()]));
        Some(Answer::json(json!({"plainToken": payload.token, "encryptedToken": tag}).to_string()))
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        single::split(raw_event, |body| {
            let kind = body.required_text("event")?.to_owned();
            let key = body.key("event", format!("{kind}:{}", body.hash_of_all_but(&[])))?;
            Ok(Single { key, kind, occurred_at: body.get("event_ts").and_then(unix_millis) })
        })
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        let millis = sample.now.timestamp_millis();
        let body = json!({"event": "latchhook.sample", "event_ts": millis, "payload": {"id": sample.id}}).to_string();
        SIGNATURE.signed(source.secrets.first()?.expose_secret(), body, sample.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Provider,
        testing::{at, event, genuine_at, raw_event, rejection, source_of},
    };

    /// Computed by this project, after Zoom's page: it publishes none that is whole.
    const BODY: &str = r#"{"event":"meeting.started","event_ts":1658940994914,"payload":{"object":{"id":"1"}}}"#;
    const SIGNED_AT: i64 = 1_658_940_994;

    #[test]
    fn a_signature_is_genuine_for_as_long_as_it_is_sent_again_and_only_for_its_body_and_once() {
        let source = source_of(Provider::Zoom, "zoom");
        let right = [
            (SIGNATURE.header, "v0=1a55a5ce34cb653d7fdcab10077ba26a4623f986578934a63998ca6308afefa6"),
            (SIGNATURE.time, "1658940994"),
        ];
        let genuine =
            |pairs: &[_], body: &str, apart| genuine_at(&source, pairs, body.as_bytes(), at(SIGNED_AT + apart));

        assert_eq!([-7801, -7800, 7800, 7801].map(|apart| genuine(&right, BODY, apart)), [false, true, true, false]);
        assert!(!genuine(&right, "{}", 0) && !genuine(&[right[0], right[0], right[1]], BODY, 0));
        assert!(!genuine(&right[..1], BODY, 0) && !genuine(&[right[0], right[1], right[1]], BODY, 0));
        assert!(!genuine(&[(SIGNATURE.header, &right[0].1[3..]), right[1]], BODY, 0));
    }

    #[test]
    fn a_token_is_signed_by_the_secret_that_signed_the_question() {
        let body = r#"{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680,"event":"endpoint.url_validation"}"#;
        let mut source = source_of(Provider::Zoom, "old");
        source.secrets.push("new".into());
        let greeting = |secret: &str, body: &str| {
            let Signed { headers, body, .. } = SIGNATURE.signed(secret, body.to_owned(), at(SIGNED_AT)).unwrap();
            Provider::Zoom.greeting(&source, &Request::posted(&headers, &body, at(SIGNED_AT)))
        };

        for (secret, tag) in [
            ("old", "b39344aa6b7d05b92252155d9d409e36b92c85646a0fe3d5087082fbc8f7fc32"),
            ("new", "38c55cb9e1fc21b4158da896aeea4b8b23eebfab3851933c96b09f8170111fbf"),
        ] {
            let expected = json!({"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": tag}).to_string();
            assert_eq!(greeting(secret, body), Some(Answer::json(expected)));
        }
        assert_eq!([greeting("other", body), greeting("new", BODY)], [None, None]);
        assert_eq!(greeting("new", &body.replace("endpoint.url_validation", "meeting.started")), None);
    }

    #[test]
    fn a_retry_has_the_key_of_the_first_and_happened_when_that_did() {
        let of = |time: &str, body: &str| event(Provider::Zoom, &raw_event(&[(SIGNATURE.time, time)], body));

        let [first, retry] = ["1", "2"].map(|time| of(time, BODY));
        let later = of("1", &BODY.replace("994914", "994915"));

        assert_eq!((&first.key, &first.kind[..]), (&retry.key, "meeting.started"));
        assert_ne!(first.key, later.key);
        assert_eq!(first.occurred_at.unwrap().timestamp_millis(), 1_658_940_994_914);
    }

    #[test]
    fn what_says_no_event_is_rejected_with_what_is_missing() {
        let rejection = rejection(Provider::Zoom, &raw_event(&[], "{}"));

        assert!(rejection.detail.starts_with("event:"), "{}", rejection.detail);
    }
}
