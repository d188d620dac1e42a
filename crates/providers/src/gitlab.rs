//! GitLab's webhooks.
//!
//! There are two ways to vouch for a request, and a source may have secrets of both while one replaces the other:
//! * a secret token, which travels with each request: who has seen one can send anything;
//! * a signing token (`whsec_…`), which signs as Standard Webhooks has it. A request that is signed is judged by its signature
//!   alone, as soon as the source has a signing token.
//!
//! Traps, each with a test. Only `Idempotency-Key` is the event's own; `webhook-id` is the same, and signed.
//! * `X-Gitlab-Webhook-UUID` is the webhook's, says the page, and in GitLab's own code it is made anew for each attempt.
//! * `X-Gitlab-Event-UUID` is shared by an event and by all that its webhooks set off.
//! * GitLab before 17.4 sends none that could be a key. What it sends is rejected: a hash of the body would take two equal
//!   events, as of a pipeline that is run again, for one.
//!
//! Nothing is sent again by itself, and four failures in a row pause the webhook for a minute, then for up to a day.

use std::{borrow::Cow, time::Duration};

use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Request, Sample, SecretForm, Verdict,
    json::{Fault, Fields},
    request::Signed,
    rules::Rules,
    signature::{Doubt, one_of, only, same, usable, verdict},
    single::{self, Single, header_key, kept},
    standard_webhooks::{self, STANDARD},
};

/// GitLab's webhooks.
pub(crate) struct GitLab;

const TOKEN: &str = "x-gitlab-token";
const EVENT: &str = "x-gitlab-event";
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const ID: &str = STANDARD.id;
const TIMESTAMP: &str = STANDARD.timestamp;
const SIGNATURE: &str = STANDARD.signature;
/// What a signing token begins with.
const SIGNING: &str = "whsec_";

const ABOUT: About = About {
    name: "gitlab",
    title: "GitLab",
    page: "https://docs.gitlab.com/user/project/integrations/webhooks/",
    secret: "the Secret token of the webhook, which you choose there, or its Signing token, with its whsec_",
    url: "GitLab, your project or group, Settings, Webhooks, URL",
    verify_token: None,
    signature: "webhook-signature: HMAC-SHA256 of id, time and body, base64, within 5 minutes; without a signing token none: X-Gitlab-Token must be the secret",
    key: "the header webhook-id, else Idempotency-Key (GitLab 17.4 and later), which a retry keeps",
    // Nothing is sent again by itself; people may ask for it as long as the history of the webhook goes back.
    repeats_for: Some(Duration::from_hours(48)),
    // Not the token: it is the secret itself.
    kept_headers: &[ID, TIMESTAMP, SIGNATURE, IDEMPOTENCY_KEY, EVENT],
    // GitLab's code has it: REQUEST_BODY_SIZE_LIMIT of WebHookService.
    body_limit: 25 * 1024 * 1024,
    settings: &[],
};

impl Rules for GitLab {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        verdict(believe(source, request))
    }

    fn secret_form(&self, _settings: &Map<String, Value>, secret: &str) -> SecretForm {
        if secret.starts_with(SIGNING) { standard_webhooks::hmac_form(secret) } else { SecretForm::Usual }
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        single::split_by_header(raw_event, |body| {
            let is_signed = raw_event.headers.iter().any(|(name, _)| name == ID);
            let key = header_key(raw_event, if is_signed { ID } else { IDEMPOTENCY_KEY });
            Ok(Single { key: key.map_err(explained)?, kind: kind(raw_event, body), occurred_at: None })
        })
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        let body =
            json!({"object_kind": "latchhook_sample", "zen": "A sample, sent by latchhook source test"}).to_string();
        let secret = source.secrets.first()?.expose_secret();
        if !secret.starts_with(SIGNING) {
            return Signed::json(body, &[(TOKEN, secret), (IDEMPOTENCY_KEY, sample.id)]);
        }
        let seconds = sample.now.timestamp().to_string();
        let tag = standard_webhooks::signature_of(secret, sample.id, &seconds, body.as_bytes())?;
        let headers = [(ID, sample.id), (IDEMPOTENCY_KEY, sample.id), (TIMESTAMP, &seconds), (SIGNATURE, &tag)];
        Signed::json(body, &headers)
    }
}

fn believe(source: &Source, request: &Request<'_>) -> Result<(), Doubt> {
    let (signing, tokens): (Vec<_>, Vec<_>) =
        usable(&source.secrets)?.into_iter().partition(|secret| secret.starts_with(SIGNING));
    if !signing.is_empty() && request.headers.contains_key(SIGNATURE) {
        return standard_webhooks::vouched(&signing, &STANDARD, request);
    }
    let token = only(request.headers, TOKEN)?;
    one_of(&tokens, |secret| same(token, secret))
}

fn explained(fault: Fault) -> Fault {
    let why = "GitLab sends it since 17.4, and nothing else that it sends is the event's own";
    Fault { detail: format!("{}: {why}", fault.detail), ..fault }
}

/// As the body says, with what was done to the thing that it is about.
fn kind(raw_event: &RawEvent, body: &Fields<'_>) -> String {
    let named = body.loose_text("object_kind").or_else(|| body.loose_text("event_name"));
    let kind = named.or_else(|| kept(raw_event, EVENT).map(Cow::Borrowed)).unwrap_or_default();
    let thing = body.fields("object_attributes").ok().flatten();
    match thing.and_then(|thing| thing.loose_text("action")) {
        Some(action) => format!("{kind}.{action}"),
        None => kind.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Provider, reason,
        testing::{at, event, genuine, genuine_at, raw_event, rejection, source_of},
    };

    /// The libraries of Standard Webhooks.
    const SIGNING_TOKEN: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNED_AT: i64 = 1_614_265_330;
    const VECTOR: [(&str, &str); 3] = [
        (ID, "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        (TIMESTAMP, "1614265330"),
        (SIGNATURE, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ];

    fn with_both() -> Source {
        let mut source = source_of(Provider::GitLab, "secret token");
        source.secrets.push(SIGNING_TOKEN.into());
        source
    }

    #[test]
    fn only_the_token_itself_is_believed_and_only_once() {
        let source = source_of(Provider::GitLab, "secret token");

        assert!(genuine(&source, &[(TOKEN, "secret token")], b"{}"));
        for forged in [vec![], vec![(TOKEN, "secret")], vec![(TOKEN, "Secret token")], vec![(TOKEN, "secret token"); 2]]
        {
            assert!(!genuine(&source, &forged, b"{}"), "{forged:?}");
        }
    }

    #[test]
    fn the_published_vector_is_genuine_for_five_minutes_before_and_after() {
        let source = source_of(Provider::GitLab, SIGNING_TOKEN);

        let believed = [-301, -300, 300, 301].map(|apart| genuine_at(&source, &VECTOR, BODY, at(SIGNED_AT + apart)));

        assert_eq!(believed, [false, true, true, false]);
        assert!(!genuine_at(&source, &VECTOR, b"{}", at(SIGNED_AT)));
        assert!(!genuine_at(&source, &[&VECTOR[..], &VECTOR[2..]].concat(), BODY, at(SIGNED_AT)), "two signatures");
    }

    #[test]
    fn another_id_or_time_than_was_signed_is_forged() {
        let source = source_of(Provider::GitLab, SIGNING_TOKEN);

        for (place, other) in [(0, "msg_other"), (1, "1614265331")] {
            let mut headers = VECTOR;
            headers[place].1 = other;
            assert!(!genuine_at(&source, &headers, BODY, at(SIGNED_AT)), "{other}");
        }
    }

    #[test]
    fn a_signing_token_is_never_a_token_and_a_token_signs_nothing() {
        let source = source_of(Provider::GitLab, SIGNING_TOKEN);
        assert!(!genuine_at(&source, &[(TOKEN, SIGNING_TOKEN)], BODY, at(SIGNED_AT)));

        let source = source_of(Provider::GitLab, "secret token");
        assert!(!genuine_at(&source, &VECTOR, BODY, at(SIGNED_AT)));
    }

    #[test]
    fn of_two_kinds_of_secret_the_signature_decides_where_there_is_one_and_the_source_can_tell() {
        let token = (TOKEN, "secret token");
        let both = [&VECTOR[..], &[token]].concat();
        let genuine = |headers: &[_], body| genuine_at(&with_both(), headers, body, at(SIGNED_AT));

        assert!(genuine(&[token], BODY) && genuine(&VECTOR, BODY) && genuine(&both, BODY));
        assert!(!genuine(&both, b"{}"));
        assert!(genuine_at(&source_of(Provider::GitLab, token.1), &both, BODY, at(SIGNED_AT)));
    }

    #[test]
    fn an_event_is_known_by_its_own_key_and_by_none_that_attempts_or_other_events_have() {
        let sent = |webhook: &str, body: &str| {
            let headers = [
                (IDEMPOTENCY_KEY, "f5e5f430-f57b-4e6e-9fac-d9128cd7232f"),
                ("x-gitlab-webhook-uuid", webhook),
                ("x-gitlab-event-uuid", "13792a34-cac6-4fda-95a8-c58e00a3954e"),
                (EVENT, "Merge Request Hook"),
            ];
            event(Provider::GitLab, &raw_event(&headers, body))
        };

        let opened = sent("first", r#"{"object_kind":"merge_request","object_attributes":{"action":"open"}}"#);
        let again = sent("second", r#"{"object_kind":"merge_request","object_attributes":{"action":"open"}}"#);

        assert_eq!(
            (opened.key.as_str(), &opened.kind[..]),
            ("f5e5f430-f57b-4e6e-9fac-d9128cd7232f", "merge_request.open")
        );
        assert_eq!(opened.key, again.key);
    }

    #[test]
    fn the_id_that_was_signed_is_the_key_before_the_one_that_was_not() {
        let headers = [(IDEMPOTENCY_KEY, "unsigned"), (ID, "signed")];

        let event = event(Provider::GitLab, &raw_event(&headers, r#"{"event_name":"project_create"}"#));

        assert_eq!((event.key.as_str(), &event.kind[..]), ("signed", "project_create"));
    }

    #[test]
    fn what_its_body_does_not_name_is_of_the_kind_that_the_header_says() {
        let event = event(Provider::GitLab, &raw_event(&[(IDEMPOTENCY_KEY, "1"), (EVENT, "Push Hook")], "{}"));

        assert_eq!(event.kind, "Push Hook");
    }

    #[test]
    fn a_body_that_is_no_object_does_not_cost_the_event_that_its_headers_name() {
        for body in ["", "[1]", "hello"] {
            let event = event(Provider::GitLab, &raw_event(&[(IDEMPOTENCY_KEY, "1"), (EVENT, "Push Hook")], body));
            assert_eq!((event.key.as_str(), &event.kind[..], &event.raw[..]), ("1", "Push Hook", body.as_bytes()));
        }
    }

    #[test]
    fn without_its_key_or_with_two_an_event_is_rejected_with_what_is_missing_and_since_when_it_is_sent() {
        let others = [("x-gitlab-webhook-uuid", "a"), ("x-gitlab-event-uuid", "b"), (TOKEN, "secret token")];
        let twice = [(IDEMPOTENCY_KEY, "a"), (IDEMPOTENCY_KEY, "b")];

        for headers in [&others[..], &twice] {
            let rejection = rejection(Provider::GitLab, &raw_event(headers, "{}"));
            assert_eq!(rejection.reason, reason::MISSING_ID);
            assert!(
                rejection.detail.contains(IDEMPOTENCY_KEY) && rejection.detail.contains("17.4"),
                "{}",
                rejection.detail
            );
        }
    }

    #[test]
    fn a_sample_is_made_with_either_kind_of_secret_and_the_token_is_not_kept() {
        let stamp = Sample { id: "abc123", now: at(SIGNED_AT) };

        for secret in [SIGNING_TOKEN, "secret token"] {
            let source = source_of(Provider::GitLab, secret);
            let sample = Provider::GitLab.sample(&source, &stamp).unwrap();
            let request = Request::posted(&sample.headers, &sample.body, stamp.now);
            assert_eq!(Provider::GitLab.verify(&source, &request), Verdict::Genuine, "{secret}");
            assert!(!Provider::GitLab.door(None, &source.settings).kept_headers.contains(&TOKEN));
        }
    }
}
