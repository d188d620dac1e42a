//! Samples of whatever settings describe.

use super::*;
use crate::{NoSample, Sample, testing::events_of};

const STAMP: Sample<'static> =
    Sample { id: "abc123", now: chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap() };

fn and(mut settings: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    settings
}

#[test]
fn a_sample_is_signed_as_the_settings_say_and_has_the_id_and_the_kind_where_they_say() {
    let token = |more| and(json!({"algorithm": "equal", "key_pointer": "/id"}), more);
    let hmac = |more| and(json!({"algorithm": "hmac-sha512", "signature_header": "x-tag"}), more);
    let kind = "latchhook.sample";

    for (settings, expected) in [
        (shown("GitHub"), kind),
        (stripe(), kind),
        (shown("Slack"), kind),
        (shown("Shopify"), kind),
        (standard_webhooks(), kind),
        (token(json!({"signature_header": "x-token"})), "event"),
        (token(json!({"signature_query": "key", "kind_pointer": "/a~1b/~0c/0"})), kind),
        (token(json!({"signature_header": "authorization", "form": "prefix", "prefix": "Bearer "})), "event"),
        (hmac(json!({"key_pointer": "/event/id", "kind_pointer": "/event/type"})), kind),
        (hmac(json!({"key_pointer": "/event/id", "kind_pointer": "/event"})), "event"),
        (
            hmac(
                json!({"signed": "{timestamp}|{url}|{body}", "url": "https://h/hooks/src", "timestamp_header": "x-time",
                "timestamp_form": "rfc3339", "key_header": "x-id", "kind_header": "x-kind"}),
            ),
            kind,
        ),
    ] {
        let source = source("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &settings);
        let [event] = events_of(&source, Provider::Generic.sample(&source, &STAMP).unwrap()).try_into().unwrap();
        assert_eq!((event.key.as_str(), event.kind.as_str()), ("abc123", expected), "{settings}");
    }
}

#[test]
fn a_sample_that_is_known_by_several_ids_has_each_of_them_and_its_kind() {
    let settings = shown("Calendly");
    let source = source("s", &settings);

    let [event] = events_of(&source, Provider::Generic.sample(&source, &STAMP).unwrap()).try_into().unwrap();

    assert_eq!((event.key.as_str(), event.kind.as_str()), ("latchhook.sample:abc123", "latchhook.sample"));
}

#[test]
fn a_sample_without_an_id_of_its_own_is_known_by_its_body() {
    let source = source("s", &json!({"algorithm": "hmac-sha1", "signature_header": "x-tag", "key_hash": true}));
    let key = |id| {
        let sample = Provider::Generic.sample(&source, &Sample { id, ..STAMP }).unwrap();
        events_of(&source, sample).remove(0).key
    };

    let keys = [key("first"), key("first"), key("second")];

    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[0], keys[2]);
}

#[test]
fn there_is_no_sample_where_only_the_sender_can_sign_or_the_secret_is_of_no_use_and_which_it_is_is_said() {
    let of = |secret: &str, algorithm: &str, form: &str| {
        let settings =
            json!({"algorithm": algorithm, "secret_form": form, "signature_header": "x-tag", "key_hash": true});
        Provider::Generic.sample(&source(secret, &settings), &STAMP).map(drop)
    };

    for algorithm in ["ed25519", "ecdsa-p256", "rsa-sha256"] {
        assert_eq!(of("c2VjcmV0", algorithm, "base64"), Err(NoSample::OnlyTheSenders), "{algorithm}");
    }
    assert_eq!(of("no base64", "hmac-sha256", "base64"), Err(NoSample::Unusable));
    assert_eq!(of("c2VjcmV0", "hmac-sha256", "base64"), Ok(()));
}
