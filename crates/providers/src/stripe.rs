//! Stripe's webhooks.

use std::time::Duration;

use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Request, Sample, SecretForm, Verdict,
    hex_headers::TimedHex,
    json::unix_time,
    request::Signed,
    rules::Rules,
    single::{self, Single, rfc3339},
};

/// Stripe's webhooks.
pub(crate) struct Stripe;

const SIGNATURE: TimedHex = TimedHex {
    header: "stripe-signature",
    separator: ',',
    time: "t",
    tag: "v1",
    joint: ".",
    // What Stripe's own libraries take.
    tolerance: TimeDelta::seconds(300),
};

const ABOUT: About = About {
    name: "stripe",
    title: "Stripe",
    page: "https://docs.stripe.com/webhooks",
    secret: "the signing secret of the endpoint, with its whsec_: Workbench, Webhooks, the destination, Reveal secret",
    url: "Stripe, Workbench, Webhooks, Create an event destination, Webhook endpoint, Endpoint URL",
    verify_token: None,
    signature: "Stripe-Signature: a time, and HMAC-SHA256 of time and body, hexadecimal; within 5 minutes",
    key: "the id of the event, evt_…, which a retry keeps",
    repeats_for: Some(Duration::from_hours(72)),
    kept_headers: &[SIGNATURE.header],
    // It names no limit.
    body_limit: 3 * 1024 * 1024,
    settings: &[],
};

impl Rules for Stripe {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    /// The secret is the key as it stands, `whsec_` and all; it is no base64.
    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        SIGNATURE.verify(&source.secrets, request)
    }

    fn secret_form(&self, _settings: &Map<String, Value>, secret: &str) -> SecretForm {
        SecretForm::should(secret.starts_with("whsec_"), "it does not begin with whsec_")
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        single::split(raw_event, |body| {
            Ok(Single {
                key: body.key("id", body.id("id")?)?,
                kind: body.loose_text("type").unwrap_or_default().into_owned(),
                // Seconds; in thin events of the v2 API a text.
                occurred_at: body.get("created").and_then(|created| unix_time(created).or_else(|| rfc3339(created))),
            })
        })
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        let id = format!("evt_{}", sample.id);
        let body = json!({
            "id": id, "object": "event", "type": "latchhook.sample", "created": sample.now.timestamp(), "data": {}
        });
        let body = body.to_string();
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

    /// The tests of stripe-dotnet and async-stripe; the body ends with a newline.
    const BODY: &str = "{\n  \"id\": \"evt_123\",\n  \"object\": \"event\",\n  \"account\": \"acct_123\",\n  \"api_version\": \"2017-05-25\",\n  \"created\": 1533204620,\n  \"data\": {\n    \"object\": {\n      \"id\": \"ii_123\",\n      \"object\": \"invoiceitem\",\n      \"amount\": 1000,\n      \"currency\": \"usd\",\n      \"customer\": \"cus_123\",\n      \"date\": 1533204620,\n      \"description\": \"Test Invoice Item\",\n      \"discountable\": false,\n      \"invoice\": \"in_123\",\n      \"livemode\": false,\n      \"metadata\": {},\n      \"period\": {\n        \"start\": 1533204620,\n        \"end\": 1533204620\n      },\n      \"plan\": null,\n      \"proration\": false,\n      \"quantity\": null,\n      \"subscription\": null\n    }\n  },\n  \"livemode\": false,\n  \"pending_webhooks\": 1,\n  \"request\": {\n    \"id\": \"req_123\",\n    \"idempotency_key\": \"idempotency-key-123\"\n  },\n  \"type\": \"invoiceitem.created\"\n}\n";
    const TAG: &str = "v1=f0bdba6d4eacbd8ad8a3bbadd7248e633ec1477f7899c124c51b39405fa36613";
    const V0: &str = "v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef";
    const SIGNED_AT: i64 = 1_533_204_620;

    fn believed(header: &str, now: i64) -> bool {
        let source = source_of(Provider::Stripe, "webhook_secret");
        genuine_at(&source, &[(SIGNATURE.header, header)], BODY.as_bytes(), at(now))
    }

    #[test]
    fn the_published_vector_is_genuine_for_five_minutes_before_and_after() {
        let header = format!("t={SIGNED_AT},{TAG},{V0}");

        let believed = [-301, -300, 0, 300, 301].map(|apart| believed(&header, SIGNED_AT + apart));

        assert_eq!(believed, [false, true, true, true, false]);
    }

    #[test]
    fn one_signature_of_sixteen_is_enough_and_what_is_unreadable_or_v0_is_ignored() {
        let zeros = "0".repeat(64);

        assert!(believed(&format!("t={SIGNED_AT},v1={zeros},{TAG},v1=zz"), SIGNED_AT));
        assert!(!believed(&format!("t={SIGNED_AT},v1={zeros}"), SIGNED_AT));
        assert!(believed(&format!("t={SIGNED_AT}{},{TAG}", format!(",v1={zeros}").repeat(15)), SIGNED_AT));
        assert!(!believed(&format!("t={SIGNED_AT}{},{TAG}", format!(",v1={zeros}").repeat(16)), SIGNED_AT));
        assert!(!believed(&format!("t={SIGNED_AT},{}", TAG.replace("v1", "v0")), SIGNED_AT));
    }

    #[test]
    fn a_header_with_a_broken_time_or_a_second_one_or_twice_there_is_forged() {
        for header in ["v1,t=1", "t=", &format!("t=,{TAG}"), TAG, &format!("t={SIGNED_AT},t={SIGNED_AT},{TAG}")] {
            assert!(!believed(header, SIGNED_AT), "{header}");
        }
        let source = source_of(Provider::Stripe, "webhook_secret");
        let header = format!("t={SIGNED_AT},{TAG}");
        let twice = [(SIGNATURE.header, header.as_str()), (SIGNATURE.header, header.as_str())];
        assert!(!genuine_at(&source, &twice, BODY.as_bytes(), at(SIGNED_AT)));
    }

    #[test]
    fn the_id_is_the_key_of_snapshot_events_and_of_thin_ones() {
        let thin = r#"{"id":"evt_65R","object":"v2.core.event","type":"v1.billing.meter.no_meter_found","created":"2018-08-02T10:10:20.000Z"}"#;

        let [snapshot, thin] = [BODY, thin].map(|body| event(Provider::Stripe, &raw_event(&[], body)));

        assert_eq!((snapshot.key.as_str(), snapshot.kind.as_str()), ("evt_123", "invoiceitem.created"));
        assert_eq!((thin.key.as_str(), thin.kind.as_str()), ("evt_65R", "v1.billing.meter.no_meter_found"));
        assert_eq!([snapshot.occurred_at, thin.occurred_at], [Some(at(SIGNED_AT)); 2]);
    }

    #[test]
    fn without_its_id_an_event_is_rejected_with_what_is_missing() {
        let rejection = rejection(Provider::Stripe, &raw_event(&[], r#"{"type":"invoice.paid"}"#));

        assert_eq!(rejection.reason, crate::reason::MISSING_ID);
        assert!(rejection.detail.starts_with("id:"), "{}", rejection.detail);
    }
}
