//! Mailgun's webhooks.
//!
//! **The body is not signed.** What is signed is a time and a token, which stand in the body beside the event: they say that
//! Mailgun sent something at that time, and not what. Who has seen one genuine request can send any event with its signature
//! for as long as that is fresh, and under a key of his choice. There is no verifying more than Mailgun signs. So:
//!
//! * TLS is what keeps requests from being seen; nothing before us may log bodies.
//! * Mailgun shows a client certificate, which a proxy before us can ask for (the page below says how).
//! * Whoever acts upon an event, and pays for a wrong one, asks Mailgun's Events API for it by its id first.
//! * Whoever would rather lose what an outage delays than take a request for so long sets a shorter `tolerance`.
//!
//! The key is the id of the event and not the token: the page does not say that a retry keeps its token, and an event that
//! came twice under two keys would be two. So two events under one token, one of which is forged, are not seen here: that
//! takes a memory of tokens, and there is none at this door. Both are kept, each with its token, and can be compared.
//!
//! Webhooks of before 2018, which are forms, are not taken: their signature is nowhere where JSON has it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ring::hmac::HMAC_SHA256;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Request, Sample, Setting, Verdict,
    json::Json,
    request::Signed,
    rules::Rules,
    signature::{Doubt, MALFORMED, MISSING, fresh, from_hex, one_of, sign, signed, to_hex, usable, verdict},
    single::{self, Single},
};

/// Mailgun's webhooks.
pub(crate) struct Mailgun;

/// The setting for another.
const TOLERANCE: &str = "tolerance";

/// How far from now a time may be, in seconds, unless the source says another. What is sent again within eight hours has the
/// time of the first, say others who take it (the page does not say, and warns of too strict a check): with ten minutes,
/// nothing would be taken of what an outage of a quarter of an hour has delayed, and it would be lost.
const NINE_HOURS: i64 = 9 * 3600;

const ABOUT: About = About {
    name: "mailgun",
    title: "Mailgun",
    page: "https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks",
    secret: "the HTTP webhook signing key: app.mailgun.com, Settings, API security, HTTP webhook signing key",
    url: "app.mailgun.com, Send, Webhooks, Add webhook, URL",
    verify_token: None,
    signature: "signature in the body: HMAC-SHA256 of a time and a token, hexadecimal; within 9 hours, or the setting tolerance. The body is NOT signed: \
                whoever has seen one request can send any event with its signature",
    key: "event-data.id, which a retry keeps",
    // 5, 10 and 15 minutes, 1, 2 and 4 hours.
    repeats_for: Some(Duration::from_hours(8)),
    // The signature is in the body.
    kept_headers: &[],
    // It names no limit.
    body_limit: 3 * 1024 * 1024,
    settings: &[Setting {
        name: TOLERANCE,
        does: "seconds that a signature may be before or after now; 32400, which is 9 hours, unless it is said. With fewer, what \
               Mailgun sends again after an outage is refused, and lost; with more, who has seen a request can use it longer",
        expected: "60 to 86400 seconds",
        needed: false,
        takes: |value| value.as_i64().is_some_and(|seconds| (60..=86_400).contains(&seconds)),
    }],
};

/// What of the body decides whether it is believed. A member that is there twice makes it unreadable.
#[derive(Deserialize)]
struct Posted {
    signature: Option<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    timestamp: Value,
    token: String,
    signature: String,
    /// By the key of the account above, where this is one of a subaccount.
    #[serde(rename = "parent-signature")]
    of_parent: Option<String>,
}

impl Rules for Mailgun {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        verdict(believe(source, request))
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        single::split(raw_event, |body| {
            let event = body.required_fields("event-data")?;
            Ok(Single {
                key: event.key("id", event.id("id")?)?,
                kind: event.loose_text("event").unwrap_or_default().into_owned(),
                occurred_at: event.get("timestamp").and_then(unix_time),
            })
        })
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        let (seconds, token) = (sample.now.timestamp().to_string(), format!("{:0<50}", sample.id));
        let key = source.secrets.first()?.expose_secret();
        let tag = to_hex(&sign(HMAC_SHA256, key.as_bytes(), &[seconds.as_bytes(), token.as_bytes()]));
        let event = json!({"id": sample.id, "event": "latchhook_sample", "timestamp": sample.now.timestamp()});
        let signature = json!({"timestamp": seconds, "token": token, "signature": tag});
        Signed::json(json!({"signature": signature, "event-data": event}).to_string(), &[])
    }
}

fn believe(source: &Source, request: &Request<'_>) -> Result<(), Doubt> {
    let secrets = usable(&source.secrets)?;
    let posted: Posted = serde_json::from_slice(request.body).map_err(|_| MALFORMED)?;
    let Signature { timestamp, token, signature, of_parent } = posted.signature.ok_or(MISSING)?;
    let timestamp = match timestamp {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => return Err(MALFORMED),
    };
    let tolerance = source.settings.get(TOLERANCE).and_then(Value::as_i64).unwrap_or(NINE_HOURS);
    fresh(&timestamp, request.now, TimeDelta::seconds(tolerance))?;
    let tags: Vec<_> = [Some(signature), of_parent].into_iter().flatten().filter_map(|tag| from_hex(&tag)).collect();
    let parts = [timestamp.as_bytes(), token.as_bytes()];
    one_of(&secrets, |secret| tags.iter().any(|tag| signed(HMAC_SHA256, secret.as_bytes(), &parts, tag)))
}

/// Seconds since 1970, with a fraction.
fn unix_time(value: &Json<'_>) -> Option<DateTime<Utc>> {
    let Json::Number(digits) = value else { return None };
    // The year 10000 is the first that RFC 3339 cannot say.
    let seconds: f64 = digits.parse().ok().filter(|seconds| (0.0..253_402_300_800.0).contains(seconds))?;
    DateTime::from_timestamp_micros((seconds * 1e6) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Provider, reason,
        testing::{at, event, genuine_at, raw_event, rejection, source_of, with_settings},
    };

    /// Computed by this project, after Mailgun's page: it publishes none. Time and token are those of an example there.
    const KEY: &str = "key-test";
    const TOKEN: &str = "a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0";
    const TAG: &str = "2df0e54f503d31abdc1519117a730ae38748e41e86f9ae25431dbd26059468af";
    const SIGNED_AT: i64 = 1_529_006_854;

    fn signature(seconds: &str, token: &str, tag: &str) -> String {
        format!(r#"{{"timestamp":"{seconds}","token":"{token}","signature":"{tag}"}}"#)
    }

    fn right() -> String {
        signature("1529006854", TOKEN, TAG)
    }

    fn with(signature: &str) -> String {
        format!(r#"{{"signature":{signature},"event-data":{{"id":"Ase7i2zsRYeDXztHGENqRA","event":"clicked"}}}}"#)
    }

    fn believed(body: &str, now: i64) -> bool {
        genuine_at(&source_of(Provider::Mailgun, KEY), &[], body.as_bytes(), at(now))
    }

    #[test]
    fn a_signature_is_genuine_for_as_long_as_it_is_sent_again() {
        let hours = 9 * 3600;

        let believed =
            [-hours - 1, -hours, 0, hours, hours + 1].map(|apart| believed(&with(&right()), SIGNED_AT + apart));

        assert_eq!(believed, [false, true, true, true, false]);
    }

    #[test]
    fn a_source_may_take_a_signature_for_a_shorter_time_and_not_for_ever() {
        let source = with_settings(source_of(Provider::Mailgun, KEY), &json!({"tolerance": 600}));
        let is_taken = |tolerance: Value| {
            let settings = json!({"tolerance": tolerance});
            Provider::Mailgun.check_settings(settings.as_object().unwrap()).is_ok()
        };

        let believed = [-601, -600, 600, 601]
            .map(|apart| genuine_at(&source, &[], with(&right()).as_bytes(), at(SIGNED_AT + apart)));

        assert_eq!(believed, [false, true, true, false]);
        assert_eq!([59, 60, 86_400, 86_401].map(|tolerance| is_taken(tolerance.into())), [false, true, true, false]);
        assert!(!is_taken("600".into()));
    }

    #[test]
    fn another_time_or_token_or_key_and_no_signature_or_two_are_forged() {
        let wrong = [
            signature("1529006855", TOKEN, TAG),
            signature("1529006854", &TOKEN.replace("a8", "a9"), TAG),
            signature("1529006854", TOKEN, &TAG[1..]),
            signature("1529006854", TOKEN, ""),
            r#"{"timestamp":["1529006854"]}"#.to_owned(),
            "{}".to_owned(),
            "null".to_owned(),
            format!(r#"{},"signature":{}"#, signature("1", "", ""), right()),
        ];
        for wrong in wrong {
            assert!(!believed(&with(&wrong), SIGNED_AT), "{wrong}");
        }
        assert!(!believed("timestamp=1529006854", SIGNED_AT) && !believed("{}", SIGNED_AT));
        let source = source_of(Provider::Mailgun, "another");
        assert!(!genuine_at(&source, &[], with(&right()).as_bytes(), at(SIGNED_AT)));
    }

    #[test]
    fn a_time_may_be_a_number_too() {
        let number = right().replace(r#""1529006854""#, "1529006854");

        assert!(believed(&with(&number), SIGNED_AT));
    }

    #[test]
    fn no_digit_can_be_moved_between_the_time_and_the_token() {
        let tag = to_hex(&sign(HMAC_SHA256, KEY.as_bytes(), &[b"15290068541234abcd"]));

        assert!(believed(&with(&signature("1529006854", "1234abcd", &tag)), SIGNED_AT));
        assert!(!believed(&with(&signature("152900685", "41234abcd", &tag)), SIGNED_AT));
        assert!(!believed(&with(&signature("15290068541", "234abcd", &tag)), SIGNED_AT));
    }

    #[test]
    fn an_event_of_a_subaccount_is_vouched_for_by_either_key() {
        let of_a_subaccount = signature("1529006854", TOKEN, &"0".repeat(64));
        let of_both = of_a_subaccount.replace('}', &format!(r#","parent-signature":"{TAG}"}}"#));

        assert!(believed(&with(&of_both), SIGNED_AT) && !believed(&with(&of_a_subaccount), SIGNED_AT));
        assert!(believed(&with(&right().replace('}', r#","parent-signature":"00"}"#)), SIGNED_AT));
    }

    /// What Mailgun does not sign cannot be verified here: this shows the gap that the module's documentation is about.
    #[test]
    fn another_event_under_the_same_signature_is_taken_for_genuine() {
        let another = with(&right()).replace("clicked", "delivered").replace("Ase7i2zsRYeDXztHGENqRA", "made-up");

        assert!(believed(&another, SIGNED_AT));
        assert!(ABOUT.signature.contains("The body is NOT signed"), "people are told so");
    }

    #[test]
    fn a_retry_has_the_key_of_the_first_whatever_its_token() {
        let body = |token: &str| {
            let data = r#"{"id":"Ase7i2zsRYeDXztHGENqRA","event":"clicked","timestamp":1521243339.873676}"#;
            format!(r#"{{"signature":{},"event-data":{data}}}"#, signature("1", token, ""))
        };

        let [first, retry] = ["a", "b"].map(|token| event(Provider::Mailgun, &raw_event(&[], &body(token))));

        assert_eq!((first.key.as_str(), first.kind.as_str()), ("Ase7i2zsRYeDXztHGENqRA", "clicked"));
        assert_eq!(first.occurred_at.unwrap().timestamp_micros(), 1_521_243_339_873_676);
        assert_eq!(first.key, retry.key);
    }

    #[test]
    fn without_its_id_an_event_is_rejected_with_what_is_missing_and_an_absurd_time_is_none() {
        for (data, reason, start) in [
            (r#""event-data":{"event":"opened"}"#, reason::MISSING_ID, "event-data.id:"),
            (r#""signature":{}"#, reason::WRONG_TYPE, "event-data:"),
        ] {
            let rejection = rejection(Provider::Mailgun, &raw_event(&[], &format!("{{{data}}}")));
            assert_eq!(rejection.reason, reason);
            assert!(rejection.detail.starts_with(start), "{}", rejection.detail);
        }
        for absurd in ["-1", "1e300", r#""soon""#] {
            let body = format!(r#"{{"event-data":{{"id":"a","timestamp":{absurd}}}}}"#);
            assert_eq!(event(Provider::Mailgun, &raw_event(&[], &body)).occurred_at, None, "{absurd}");
        }
    }
}
