//! Paddle's webhooks.

use std::time::Duration;

use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Request, Sample, SecretForm, Verdict,
    hex_headers::TimedHex,
    request::Signed,
    rules::Rules,
    single::{self, Single, rfc3339},
};

/// Paddle's webhooks.
pub(crate) struct Paddle;

const SIGNATURE: TimedHex = TimedHex {
    header: "paddle-signature",
    separator: ';',
    time: "ts",
    tag: "h1",
    joint: ":",
    // Paddle's libraries take 5 s, which a clock that is a little off refuses for days. What is sent again within five
    // minutes has the key of the first, and is recorded once.
    tolerance: TimeDelta::seconds(300),
};

const ABOUT: About = About {
    name: "paddle",
    title: "Paddle",
    page: "https://developer.paddle.com/webhooks/about/signature-verification",
    secret: "the secret key of the notification destination, pdl_ntfset_…: Developer tools, Notifications, Edit destination",
    url: "Paddle, Developer tools, Notifications, New destination, URL",
    verify_token: None,
    signature: "Paddle-Signature: a time, and HMAC-SHA256 of time and body, hexadecimal; within 5 minutes",
    key: "event_id, which a retry keeps; notification_id is another for each destination",
    repeats_for: Some(Duration::from_hours(72)),
    kept_headers: &[SIGNATURE.header],
    // It names no limit.
    body_limit: 3 * 1024 * 1024,
    settings: &[],
};

impl Rules for Paddle {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        SIGNATURE.verify(&source.secrets, request)
    }

    fn secret_form(&self, _settings: &Map<String, Value>, secret: &str) -> SecretForm {
        SecretForm::should(secret.starts_with("pdl_ntfset_"), "it does not begin with pdl_ntfset_")
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        single::split(raw_event, |body| {
            Ok(Single {
                key: body.key("event_id", body.id("event_id")?)?,
                kind: body.loose_text("event_type").unwrap_or_default().into_owned(),
                occurred_at: body.get("occurred_at").and_then(rfc3339),
            })
        })
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        let (id, now) = (format!("evt_{}", sample.id), sample.now.to_rfc3339());
        let body =
            json!({"event_id": id, "event_type": "latchhook.sample", "occurred_at": now, "data": {}}).to_string();
        let tag = SIGNATURE.sign(source.secrets.first()?.expose_secret(), body.as_bytes(), sample.now);
        Signed::json(body, &[(SIGNATURE.header, &tag)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Provider,
        testing::{at, event, genuine_at, raw_event, rejection, source_of},
    };

    /// Computed by this project, after Paddle's page: it publishes none.
    const BODY: &[u8] = br#"{"event_id":"evt_1"}"#;
    const TAG: &str = "h1=9a62cc502557c2fe7a0d0a6a9d5bd0ae459e6c77d367478d8e845c6450c71b9d";
    const SIGNED_AT: i64 = 1_671_552_777;

    fn believed(header: &str, now: i64) -> bool {
        let source = source_of(Provider::Paddle, "pdl_ntfset_test");
        genuine_at(&source, &[(SIGNATURE.header, header)], BODY, at(now))
    }

    #[test]
    fn a_signature_is_genuine_for_five_minutes_and_beside_one_by_another_secret() {
        let header = format!("ts={SIGNED_AT};h1={};{TAG}", "0".repeat(64));

        let believed = [-301, -300, 300, 301].map(|apart| believed(&header, SIGNED_AT + apart));

        assert_eq!(believed, [false, true, true, false]);
    }

    #[test]
    fn what_came_twice_or_was_signed_for_another_time_or_body_or_by_another_secret_is_forged() {
        let header = format!("ts={SIGNED_AT};{TAG}");
        let genuine = |secret: &str, header: &[&str], body: &[u8]| {
            let pairs: Vec<_> = header.iter().map(|value| (SIGNATURE.header, *value)).collect();
            genuine_at(&source_of(Provider::Paddle, secret), &pairs, body, at(SIGNED_AT))
        };

        assert!(genuine("pdl_ntfset_test", &[&header], BODY));
        assert!(!genuine("pdl_ntfset_test", &[&header, &header], BODY));
        assert!(!genuine("pdl_ntfset_test", &[&header.replace("777", "778")], BODY));
        assert!(!genuine("pdl_ntfset_test", &[&header.replace(';', ",")], BODY));
        assert!(!genuine("pdl_ntfset_test", &[&header], b"{}"));
        assert!(!genuine("pdl_ntfset_tess", &[&header], BODY));
    }

    #[test]
    fn the_event_id_is_the_key_whatever_notification_carries_it() {
        let body = |notification: &str| {
            format!(
                r#"{{"event_id":"evt_1","notification_id":"{notification}","event_type":"transaction.paid","occurred_at":"2022-12-20T16:12:57.5Z"}}"#
            )
        };

        let events = ["ntf_1", "ntf_2"].map(|id| event(Provider::Paddle, &raw_event(&[], &body(id))));

        assert_eq!(events[0].key, events[1].key);
        assert_eq!((events[0].key.as_str(), events[0].kind.as_str()), ("evt_1", "transaction.paid"));
        assert_eq!(events[0].occurred_at.unwrap().timestamp(), 1_671_552_777);
    }

    #[test]
    fn without_its_id_an_event_is_rejected_with_what_is_missing() {
        let rejection = rejection(Provider::Paddle, &raw_event(&[], r#"{"notification_id":"ntf_1"}"#));

        assert_eq!(rejection.reason, crate::reason::MISSING_ID);
        assert!(rejection.detail.starts_with("event_id:"), "{}", rejection.detail);
    }
}
