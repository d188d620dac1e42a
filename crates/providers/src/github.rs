//! GitHub's webhooks.
//!
//! The id of a delivery stands in a header that nothing signs: who has seen one genuine request can send its body again under
//! another id. GitHub signs no time either, so that is the same for whoever takes its webhooks; TLS is what keeps requests
//! from being seen.
//!
//! By default GitHub sends a form whose `payload` is the JSON. It is taken all the same, and kept as the form that it is.

use std::time::Duration;

use bytes::Bytes;
use secrecy::ExposeSecret;
use serde_json::json;
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Request, Sample, Verdict,
    hex_headers::HexHmac,
    request::Signed,
    rules::Rules,
    single::{self, Single, form_value, header_key, kept},
};

/// GitHub's webhooks.
pub(crate) struct GitHub;

const SIGNATURE: HexHmac = HexHmac { header: "x-hub-signature-256", prefix: "sha256=" };
const DELIVERY: &str = "x-github-delivery";
const EVENT: &str = "x-github-event";

const ABOUT: About = About {
    name: "github",
    title: "GitHub",
    page: "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
    secret: "the Secret of the webhook, which you choose there",
    url: "github.com, your repository or organisation, Settings, Webhooks, Payload URL; best with Content type application/json",
    verify_token: None,
    signature: "X-Hub-Signature-256: HMAC-SHA256 of the body, hexadecimal",
    key: "the header X-GitHub-Delivery, which a redelivery keeps",
    // Nothing is sent again by itself; people may ask for it for three days.
    repeats_for: Some(Duration::from_hours(72)),
    kept_headers: &[SIGNATURE.header, DELIVERY, EVENT],
    body_limit: 25 * 1024 * 1024,
    settings: &[],
};

impl Rules for GitHub {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        SIGNATURE.verify(&source.secrets, request)
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        let payload = form_value(&raw_event.body, "payload").map(Bytes::from);
        let event = single::members(payload.as_ref().unwrap_or(&raw_event.body), |body| {
            let event = kept(raw_event, EVENT).unwrap_or_default();
            let kind = match body.loose_text("action") {
                Some(action) => format!("{event}.{action}"),
                None => event.to_owned(),
            };
            Ok(Single { key: header_key(raw_event, DELIVERY)?, kind, occurred_at: None })
        });
        single::one(raw_event, event)
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        let body = json!({"zen": "A sample, sent by latchhook source test", "hook_id": 1}).to_string();
        let tag = SIGNATURE.sign(source.secrets.first()?.expose_secret(), body.as_bytes());
        Signed::json(body, &[(SIGNATURE.header, &tag), (DELIVERY, sample.id), (EVENT, "ping")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Provider,
        testing::{event, genuine, raw_event, rejection, source_of},
    };

    /// GitHub's documentation, page "Validating webhook deliveries".
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const TAG: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn the_published_vector_is_genuine_and_neither_another_body_nor_two_signatures() {
        let source = source_of(Provider::GitHub, SECRET);

        assert!(genuine(&source, &[(SIGNATURE.header, TAG)], BODY));
        assert!(!genuine(&source, &[(SIGNATURE.header, TAG)], b"Hello, World?"));
        assert!(!genuine(&source, &[(SIGNATURE.header, TAG), (SIGNATURE.header, TAG)], BODY));
        assert!(!genuine(&source, &[], BODY));
    }

    #[test]
    fn a_redelivery_has_the_key_of_the_first_and_the_action_belongs_to_the_kind() {
        let headers = [(DELIVERY, "72d3162e-cc78-11e3-81ab-4c9367dc0958"), (EVENT, "issues")];

        let event = event(Provider::GitHub, &raw_event(&headers, r#"{"action":"opened","issue":{"number":1}}"#));

        assert_eq!(event.key.as_str(), "72d3162e-cc78-11e3-81ab-4c9367dc0958");
        assert_eq!(event.kind, "issues.opened");
    }

    #[test]
    fn an_event_in_a_form_is_the_event_that_its_payload_is() {
        let headers = [(DELIVERY, "72d3162e"), (EVENT, "issues")];
        let form = "payload=%7B%22action%22%3A%22opened%22%2C%22issue%22%3A%7B%22title%22%3A%22a%26b%22%7D%7D";

        let event = event(Provider::GitHub, &raw_event(&headers, form));

        assert_eq!((event.key.as_str(), &event.kind[..]), ("72d3162e", "issues.opened"));
        assert_eq!(event.raw, form);
    }

    #[test]
    fn what_looks_like_a_form_inside_of_json_is_text() {
        let body = r#"{"action":"opened","issue":{"title":"&payload=%7B%22action%22%3A%22deleted%22%7D&"}}"#;

        let event = event(Provider::GitHub, &raw_event(&[(DELIVERY, "72d3162e"), (EVENT, "issues")], body));

        assert_eq!(event.kind, "issues.opened");
    }

    #[test]
    fn a_body_that_is_no_object_does_not_cost_the_event_that_its_headers_name() {
        for body in ["", "[1]", "payload=x", "payload=", "hello"] {
            let event = event(Provider::GitHub, &raw_event(&[(DELIVERY, "72d3162e"), (EVENT, "push")], body));
            assert_eq!((event.key.as_str(), &event.kind[..], &event.raw[..]), ("72d3162e", "push", body.as_bytes()));
        }
    }

    #[test]
    fn without_its_id_or_with_two_an_event_is_rejected_and_not_given_one() {
        for headers in [vec![], vec![(DELIVERY, "a"), (DELIVERY, "b")]] {
            let rejection = rejection(Provider::GitHub, &raw_event(&headers, "{}"));

            assert_eq!(rejection.reason, crate::reason::MISSING_ID);
            assert!(rejection.detail.contains(DELIVERY), "{}", rejection.detail);
        }
    }
}
