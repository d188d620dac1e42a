//! What a request shows at the door: a token, a time, a question.

use serde_json::{Value, json};

use super::source;
use crate::{
    Answer, Handshake, Provider, Request, Verdict,
    signature::{sign, to_base64, to_hex},
    testing::{at, genuine_at, headers},
};

#[test]
fn a_token_is_taken_from_the_query_or_a_header_and_never_kept() {
    let by_query = source("token", &json!({"algorithm": "equal", "signature_query": "secret", "key_pointer": "/id"}));
    let by_header =
        source("token", &json!({"algorithm": "equal", "signature_header": "x-token", "key_header": "x-id"}));
    let asked = |query: &[(&str, &str)]| {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let none = headers(&[]);
        let request = Request { query: &query, ..Request::posted(&none, b"{}", at(0)) };
        Provider::Generic.verify(&by_query, &request) == Verdict::Genuine
    };

    assert!(asked(&[("secret", "token")]));
    assert!(!asked(&[("secret", "other")]) && !asked(&[]) && !asked(&[("secret", "token"), ("secret", "token")]));
    assert!(genuine_at(&by_header, &[("x-token", "token")], b"{}", at(0)));
    assert_eq!(Provider::Generic.door(None, &by_header.settings).kept_headers, ["x-id"]);
}

#[test]
fn a_token_that_is_nothing_but_its_prefix_vouches_for_nobody() {
    let settings =
        json!({"algorithm": "equal", "signature_header": "x-token", "secret_prefix": "tok_", "key_pointer": "/id"});
    let genuine = |secret, token| genuine_at(&source(secret, &settings), &[("x-token", token)], b"{}", at(0));

    assert!(genuine("tok_1", "1"));
    assert!(!genuine("tok_", "") && !genuine("tok_", "tok_") && !genuine("tok_1", "") && !genuine("tok_1", "tok_1"));
}

#[test]
fn a_time_may_be_a_date_and_the_address_may_be_signed() {
    let settings = json!({"algorithm": "hmac-sha1", "signed": "{url}|{timestamp}|{body}", "url": "https://a.example/",
        "signature_header": "x-tag", "timestamp_header": "x-at", "timestamp_form": "rfc3339", "tolerance": 10,
        "key_hash": true});
    let source = source("s", &settings);
    let signed = b"https://a.example/|1970-01-01T01:00:00+01:00|{}";
    let tag = to_hex(&sign(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"s", &[signed]));

    let genuine = |now| genuine_at(&source, &[("x-tag", &tag), ("x-at", "1970-01-01T01:00:00+01:00")], b"{}", at(now));

    assert!(genuine(0) && genuine(10) && !genuine(11) && !genuine(-11));
}

#[test]
fn milliseconds_are_taken_for_a_time_and_base64_in_either_alphabet() {
    let settings = json!({"algorithm": "hmac-sha256", "signed": "{timestamp}{body}", "signature_header": "s",
        "timestamp_header": "t", "timestamp_form": "unix_ms", "encoding": "base64", "key_hash": true});
    let source = source("s", &settings);
    let tag = to_base64(&sign(ring::hmac::HMAC_SHA256, b"s", &[b"1600000000123{}"]));
    let genuine = |tag: &str, time, now| genuine_at(&source, &[("s", tag), ("t", time)], b"{}", at(now));

    for tag in [tag.as_str(), tag.trim_end_matches('='), &tag.replace('+', "-").replace('/', "_")] {
        assert!(genuine(tag, "1600000000123", 1_600_000_300), "{tag}");
    }
    assert!(tag.contains(['+', '/']) && tag.ends_with('='));
    assert!(!genuine(&tag, "1600000000123", 1_600_000_301) && !genuine(&tag, "1600000000", 1_600_000_000));
}

#[test]
fn a_question_is_answered_with_its_challenge_where_the_source_says_where_that_is() {
    let asked = |settings: Value, query: &[(&str, &str)]| {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Provider::Generic.handshake(&source("s", &with_challenge(settings)), &query)
    };
    let by_query = || json!({"challenge_query": "challenge"});

    assert_eq!(asked(by_query(), &[("challenge", "abc<d>")]), Handshake::Answer("abc<d>".into()));
    assert_eq!(asked(by_query(), &[("challenge", "a"), ("challenge", "b")]), Handshake::Refused);
    assert_eq!(asked(by_query(), &[]), Handshake::Refused);
    assert_eq!(asked(json!({}), &[("challenge", "abc")]), Handshake::None);
}

#[test]
fn a_body_with_the_challenge_is_answered_and_every_other_is_an_event() {
    let asked = |settings: Value, body: &str| {
        let headers = headers(&[]);
        let request = Request::posted(&headers, body.as_bytes(), at(0));
        Provider::Generic.greeting(&source("s", &with_challenge(settings)), &request)
    };
    let by_pointer = || json!({"challenge_pointer": "/challenge"});
    let long = format!(r#"{{"challenge":"abc","text":"{}"}}"#, "x".repeat(16 * 1024));

    assert_eq!(asked(by_pointer(), r#"{"challenge":"abc"}"#), Some(Answer::text("abc")));
    for event in [r#"{"challenge":1}"#, r#"{"event":{"challenge":"abc"}}"#, "", "challenge=abc", &long] {
        assert_eq!(asked(by_pointer(), event), None);
    }
    assert_eq!(asked(json!({}), r#"{"challenge":"abc"}"#), None);
}

fn with_challenge(mut settings: Value) -> Value {
    let least = json!({"algorithm": "hmac-sha256", "signature_header": "s", "key_hash": true});
    settings.as_object_mut().unwrap().extend(least.as_object().unwrap().clone());
    settings
}
