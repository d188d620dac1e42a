//! Shopify's webhooks, and its Events, whose headers have the same names without `X-`.
//!
//! * Only the body is signed. Topic, id and shop stand in headers that nothing signs: who has seen one genuine request can
//!   send its body again under others. One that comes under both names is ambiguous, and is not taken.
//! * One change in a shop is sent once for each subscription: all of them have one `X-Shopify-Event-Id`, and each has its own
//!   `X-Shopify-Webhook-Id`, which its repetitions keep.
//! * A new client secret signs within an hour: keep both until then.
//! * Whoever answers with anything but 2xx for eight times in a row loses the subscription.

use std::time::Duration;

use ring::hmac::HMAC_SHA256;
use secrecy::ExposeSecret;
use serde_json::json;
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Request, Sample, Verdict,
    json::{Fault, Json, Path, key},
    reason,
    request::Signed,
    rules::Rules,
    signature::{MALFORMED, from_base64, one_of, only_of, sign, signed, to_base64, usable, verdict},
    single::{self, Single, joined, kept_of, rfc3339},
};

/// Shopify's webhooks.
pub(crate) struct Shopify;

const SIGNATURE: [&str; 2] = ["x-shopify-hmac-sha256", "shopify-hmac-sha256"];
const TOPIC: [&str; 2] = ["x-shopify-topic", "shopify-topic"];
const ID: [&str; 2] = ["x-shopify-webhook-id", "shopify-webhook-id"];
const TRIGGERED_AT: [&str; 2] = ["x-shopify-triggered-at", "shopify-triggered-at"];
/// What happened to the topic. Webhooks have it in the topic itself.
const ACTION: [&str; 1] = ["shopify-action"];

const ABOUT: About = About {
    name: "shopify",
    title: "Shopify",
    page: "https://shopify.dev/docs/apps/build/webhooks/verify-deliveries",
    secret: "the client secret of the app: dev dashboard, your app, Settings",
    url: "shopify.app.toml, [[webhooks.subscriptions]], uri; or the uri of a webhookSubscriptionCreate, with format JSON",
    verify_token: None,
    signature: "X-Shopify-Hmac-SHA256 (or Shopify-Hmac-SHA256): HMAC-SHA256 of the body, base64",
    key: "the headers X-Shopify-Topic and X-Shopify-Webhook-Id, which a retry keeps (or without X-)",
    // Eight times.
    repeats_for: Some(Duration::from_hours(4)),
    kept_headers: &[
        SIGNATURE[0],
        SIGNATURE[1],
        TOPIC[0],
        TOPIC[1],
        ID[0],
        ID[1],
        TRIGGERED_AT[0],
        TRIGGERED_AT[1],
        ACTION[0],
    ],
    // It names no limit; some are above a megabyte.
    body_limit: 10 * 1024 * 1024,
    settings: &[],
};

impl Rules for Shopify {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        let verify = || {
            let secrets = usable(&source.secrets)?;
            let tag = from_base64(only_of(request.headers, &SIGNATURE)?).ok_or(MALFORMED)?;
            one_of(&secrets, |secret| signed(HMAC_SHA256, secret.as_bytes(), &[request.body], &tag))
        };
        verdict(verify())
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        single::split_by_header(raw_event, |_| {
            let (topic, id) = (said(raw_event, TOPIC)?, said(raw_event, ID)?);
            let kind = match kept_of(raw_event, &ACTION) {
                Some(action) => format!("{topic}/{action}"),
                None => topic.to_owned(),
            };
            let triggered_at = kept_of(raw_event, &TRIGGERED_AT).and_then(|at| rfc3339(&Json::Text(at.into())));
            Ok(Single { key: key(&Path::default(), joined([topic, id]))?, kind, occurred_at: triggered_at })
        })
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        let body = json!({"id": 1, "note": "A sample, sent by latchhook source test"}).to_string();
        let tag = to_base64(&sign(HMAC_SHA256, source.secrets.first()?.expose_secret().as_bytes(), &[body.as_bytes()]));
        Signed::json(body, &[(SIGNATURE[0], &tag), (TOPIC[0], "latchhook/sample"), (ID[0], sample.id)])
    }
}

fn said<'r>(raw_event: &'r RawEvent, names: [&str; 2]) -> Result<&'r str, Fault> {
    let missing = || {
        let what = format_args!("the header {} (or {}) is missing, or there are two", names[0], names[1]);
        Fault::at(Path::default(), reason::MISSING_ID, what)
    };
    kept_of(raw_event, &names).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Provider,
        testing::{event, genuine, raw_event, rejection, source_of},
    };

    /// Computed by this project, after Shopify's page: it publishes none.
    const SECRET: &str = "hush";
    const BODY: &[u8] = br#"{"id":1}"#;
    const TAG: &str = "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY=";

    #[test]
    fn what_the_client_secret_signed_is_genuine_under_either_name_and_never_under_both() {
        let source = source_of(Provider::Shopify, SECRET);

        for name in SIGNATURE {
            assert!(genuine(&source, &[(name, TAG)], BODY));
            assert!(!genuine(&source, &[(name, TAG), (name, TAG)], BODY));
            assert!(!genuine(&source, &[(name, TAG)], br#"{"id": 1}"#));
        }
        assert!(!genuine(&source, &SIGNATURE.map(|name| (name, TAG)), BODY));
        assert!(!genuine(&source, &[], BODY));
    }

    #[test]
    fn a_signature_in_hexadecimal_or_cut_or_by_another_secret_is_forged() {
        let source = source_of(Provider::Shopify, SECRET);
        let hexadecimal = "5672948d9b0bb8de626568e7e449ed70154217d90c378dcb825cc2135fc649e6";

        for forged in [hexadecimal, "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY", "", "AAAA"] {
            assert!(!genuine(&source, &[(SIGNATURE[0], forged)], BODY), "{forged}");
        }
        assert!(!genuine(&source_of(Provider::Shopify, "hus"), &[(SIGNATURE[0], TAG)], BODY));
    }

    #[test]
    fn both_secrets_are_taken_while_shopify_still_signs_with_the_old_one() {
        let mut source = source_of(Provider::Shopify, "new");
        source.secrets.push(SECRET.into());

        assert!(genuine(&source, &[(SIGNATURE[0], TAG)], BODY));
    }

    #[test]
    fn an_event_is_known_by_topic_and_webhook_id_and_not_by_the_id_that_subscriptions_share() {
        let sent = |topic: &str, id: &str| {
            let headers =
                [(TOPIC[0], topic), (ID[0], id), ("x-shopify-event-id", "98880550-7158-44d4-b7cd-2c97c8a091b5")];
            event(Provider::Shopify, &raw_event(&headers, r#"{"id":1}"#))
        };

        let [first, again, other, elsewhere] =
            [("orders/create", "a"), ("orders/create", "a"), ("orders/create", "b"), ("orders/paid", "a")]
                .map(|(topic, id)| sent(topic, id));

        assert_eq!((first.key.as_str(), &first.kind[..]), ("orders/create:a", "orders/create"));
        assert_eq!(first.key, again.key);
        assert!(first.key != other.key && first.key != elsewhere.key);
    }

    #[test]
    fn a_colon_cannot_be_moved_from_the_topic_to_the_id() {
        let key = |topic, id| event(Provider::Shopify, &raw_event(&[(TOPIC[0], topic), (ID[0], id)], "{}")).key;

        assert_ne!(key("a:b", "c"), key("a", "b:c"));
    }

    #[test]
    fn a_body_that_is_no_object_does_not_cost_the_event_that_its_headers_name() {
        for body in ["", "[1]", "id=1", "7"] {
            let event = event(Provider::Shopify, &raw_event(&[(TOPIC[0], "orders/paid"), (ID[0], "a")], body));
            assert_eq!((event.key.as_str(), &event.raw[..]), ("orders/paid:a", body.as_bytes()));
        }
    }

    #[test]
    fn events_have_the_same_headers_without_x_and_say_what_happened_apart_from_the_topic() {
        let headers =
            [(TOPIC[1], "Product"), (ACTION[0], "update"), (ID[1], "a"), (TRIGGERED_AT[1], "2026-04-22T18:30:00.5Z")];

        let event = event(Provider::Shopify, &raw_event(&headers, r#"{"topic":"Product","action":"update"}"#));

        assert_eq!((event.key.as_str(), &event.kind[..]), ("Product:a", "Product/update"));
        assert_eq!(event.occurred_at.unwrap().timestamp_millis(), 1_776_882_600_500);
    }

    #[test]
    fn without_its_topic_or_its_id_or_with_two_an_event_is_rejected_with_what_is_missing() {
        let (topic, id) = ((TOPIC[0], "orders/paid"), (ID[0], "a"));
        let odd = [
            (vec![topic], "x-shopify-webhook-id"),
            (vec![id], "x-shopify-topic"),
            (vec![topic, id, id], "x-shopify-webhook-id"),
            (vec![topic, id, (ID[1], "a")], "x-shopify-webhook-id"),
            (vec![topic, (TOPIC[1], "orders/paid"), id], "x-shopify-topic"),
        ];

        for (headers, missing) in odd {
            let rejection = rejection(Provider::Shopify, &raw_event(&headers, "{}"));
            assert_eq!(rejection.reason, reason::MISSING_ID);
            assert!(rejection.detail.contains(missing), "{}", rejection.detail);
        }
    }
}
