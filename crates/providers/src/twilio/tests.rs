//! Promises about Twilio's requests.

use http::HeaderMap;
use serde_json::json;

use super::*;
use crate::{
    Provider, SettingsError, reason,
    testing::{at, event, headers, raw_event, rejection, source_of, with_settings},
};

/// The tests of Twilio's own libraries (twilio-python, request_validator), and its documentation.
const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
const FORM: &str = "CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212&Caller=%2B14158675309";
const TAG: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
const JSON: &str = r#"{"property": "value", "boolean": true}"#;
const JSON_HASH: &str = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
const JSON_TAG: &str = "a9nBmqA0ju/hNViExpshrM61xv4=";

fn source(url: &str) -> Source {
    with_settings(source_of(Provider::Twilio, "12345"), &json!({ PUBLIC_URL: url }))
}

fn believed(source: &Source, tags: &[&str], query: &[(&str, &str)], body: &str) -> bool {
    let tags: Vec<_> = tags.iter().map(|tag| (SIGNATURE, *tag)).chain([("host", "attacker.example")]).collect();
    let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let request = Request { headers: &headers(&tags), query: &query, body: body.as_bytes(), now: at(0) };
    Provider::Twilio.verify(source, &request) == Verdict::Genuine
}

fn genuine(url: &str, tag: &str, body: &str) -> bool {
    believed(&source(url), &[tag], &[], body)
}

#[test]
fn the_published_vectors_are_genuine_whatever_the_host_header_says_and_in_whatever_order_the_form_is() {
    let other = FORM.replace("5309", "5310");
    let reversed: Vec<_> = FORM.split('&').rev().collect();

    assert!(genuine(URL, TAG, FORM) && genuine(URL, TAG, &reversed.join("&")));
    assert!(genuine(URL, "GvWf1cFY/Q7PnoempGyD5oXAezc=", &other));
    assert!(genuine("https://example.com/myapp.php?foo=1&bar=2", "L/OH5YylLD5NRKLltdqwSvS0BnU=", &other));
    assert!(!genuine(URL, TAG, &other) && !genuine("https://mycompany.com/myapp.php", TAG, FORM));
}

#[test]
fn a_url_is_tried_with_its_port_and_without() {
    let on_1234 = |scheme: &str| URL.replace("https", scheme).replace(".com", ".com:1234");

    assert!(genuine(&on_1234("https"), TAG, FORM), "without");
    assert!(genuine(&on_1234("http"), "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=", FORM), "with");
    assert!(genuine(URL, "kvajT1Ptam85bY51eRf/AJRuM3w=", FORM), "with 443");
    assert!(genuine(&URL.replace("https", "http"), "0ZXoZLH/DfblKGATFgpif+LLRf4=", FORM), "with 80");
    assert!(!genuine(&on_1234("http"), "0ZXoZLH/DfblKGATFgpif+LLRf4=", FORM));
}

#[test]
fn a_name_that_is_repeated_is_signed_with_each_value_once_and_sorted() {
    let tag = "IK+Dwps556ElfBT0I3Rgjkr1wJU=";

    assert!(genuine(URL, tag, "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234"));
    assert!(genuine(URL, tag, "Digits=1234&Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234"));
    assert!(!genuine(URL, tag, "Sid=CA123&SidAccount=AC123&Digits=5678"));
}

#[test]
fn json_is_vouched_for_by_its_hash_and_forged_without_it_or_with_two() {
    let hash = (BODY_HASH, JSON_HASH);
    let json = |query: &[_], body| believed(&source(URL), &[JSON_TAG], query, body);

    assert!(json(&[hash], JSON) && json(&[("foo", "1"), hash], JSON));
    assert!(!json(&[hash], "{}") && !json(&[hash, hash], JSON) && !json(&[(BODY_HASH, "")], JSON));
    assert!(!json(&[], JSON));
}

#[test]
fn the_signature_of_the_bare_url_vouches_for_no_json() {
    let tag = sign(HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345", &[URL.as_bytes()]);

    assert!(!genuine(URL, &to_base64(&tag), JSON) && !genuine(URL, &to_base64(&tag), "[]"));
}

#[test]
fn the_hash_of_a_body_follows_a_url_without_a_query_as_its_query() {
    let url = "https://mycompany.com/hooks/tw";
    let said = format!("{url}?{BODY_HASH}={JSON_HASH}");
    let tag = to_base64(&sign(HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345", &[said.as_bytes()]));

    assert!(believed(&source(url), &[&tag], &[(BODY_HASH, JSON_HASH)], JSON));
}

#[test]
fn what_a_webhooks_rule_signs_with_sha256_is_genuine_by_the_shared_key() {
    let said = format!("{URL}{}", Form::read(FORM.as_bytes()).signed());
    let tag = to_base64(&sign(HMAC_SHA256, b"12345", &[said.as_bytes()]));

    assert!(genuine(URL, &tag, FORM));
    assert!(!genuine(URL, &tag, &FORM.replace("1234&", "1235&")));
}

#[test]
fn two_signatures_and_none_and_one_that_is_cut_are_forged() {
    let believed = |tags: &[&str]| believed(&source(URL), tags, &[], FORM);

    assert!(believed(&[TAG]));
    assert!(!believed(&[]) && !believed(&[TAG, TAG]) && !believed(&[""]) && !believed(&[&TAG[..24]]));
    assert!(!self::believed(&source_of(Provider::Twilio, "12345"), &[TAG], &[], FORM), "no public_url");
}

#[test]
fn a_source_needs_the_url_that_was_given_to_twilio() {
    let check = |settings: Value| Provider::Twilio.check_settings(settings.as_object().unwrap());

    assert_eq!(check(json!({ PUBLIC_URL: URL })), Ok(()));
    assert!(matches!(check(json!({})), Err(SettingsError::Missing { field: PUBLIC_URL, .. })));
    for wrong in ["", "/hooks/tw", "mycompany.com/hooks", "ftp://a/b", "https://", "https://a/b#rc=2", "https://a b/"] {
        let error = check(json!({ PUBLIC_URL: wrong }));
        assert!(matches!(error, Err(SettingsError::Value { field: PUBLIC_URL, .. })), "{wrong}");
    }
}

#[test]
fn the_token_is_the_key_and_the_form_itself_is_kept() {
    let body = "MessageSid=SM1&MessageStatus=delivered&To=%2B1";

    let event = event(Provider::Twilio, &raw_event(&[(TOKEN, "d6ba0b1e")], body));

    assert_eq!(
        (event.key.as_str(), &event.kind[..], &event.raw[..]),
        ("d6ba0b1e", "message.delivered", body.as_bytes())
    );
}

#[test]
fn without_a_token_a_message_is_known_by_its_sid_and_status_and_a_call_by_all_that_is_said() {
    let key = |body: &str| event(Provider::Twilio, &raw_event(&[], body)).key;

    assert_eq!(key("MessageSid=SM1&SmsSid=SM1&MessageStatus=sent&RawDlrDoneDate=1").as_str(), "SM1:sent");
    assert_eq!(key("SmsSid=SM1&SmsStatus=received").as_str(), "SM1:received");
    let call = |digits: &str| key(&format!("CallSid=CA1&CallStatus=in-progress&Digits={digits}"));
    assert_eq!(call("1"), key("Digits=1&CallStatus=in-progress&CallSid=CA1"));
    assert_ne!(call("1"), call("2"));
    let edited = |text: &str| key(&format!("EventType=onMessageUpdated&MessageSid=IM1&MessageStatus=read&Body={text}"));
    assert_ne!(edited("hi"), edited("ho"));
}

#[test]
fn a_form_is_of_the_kind_that_it_names_or_of_its_status() {
    let kind = |body: &str| event(Provider::Twilio, &raw_event(&[(TOKEN, "1")], body)).kind;

    let bodies = ["CallStatus=ringing", "SmsStatus=received", "EventType=onMessageAdded&MessageStatus=sent", "a=b"];
    assert_eq!(bodies.map(kind), ["call.ringing", "message.received", "onMessageAdded", "unknown"]);
}

#[test]
fn a_stream_is_a_list_of_events_each_with_its_id_and_one_bad_one_does_not_cost_the_others() {
    let body = r#"[{"id":"EZ1","type":"com.twilio.messaging.message.sent","time":"2026-01-02T03:04:05Z"}, {"type":"x"}, {"id":"EZ2"}]"#;

    let items = Provider::Twilio.split(&source(URL), &raw_event(&[(TOKEN, "one for all")], body));

    let [Ok(first), Err(rejection), Ok(last)] = &items[..] else { panic!("{items:?}") };
    assert_eq!((first.key.as_str(), &first.kind[..]), ("EZ1", "com.twilio.messaging.message.sent"));
    assert_eq!((first.occurred_at.unwrap().timestamp(), last.key.as_str()), (1_767_323_045, "EZ2"));
    assert_eq!((rejection.reason, &rejection.raw[..]), (reason::MISSING_ID, &br#"{"type":"x"}"#[..]));
}

#[test]
fn what_has_neither_a_token_nor_a_sid_or_has_two_is_rejected_with_what_is_missing() {
    let odd: [(&[_], _); 5] = [
        (&[], "Body=hi"),
        (&[], "MessageSid=SM1&MessageSid=SM2"),
        (&[], ""),
        (&[(TOKEN, "a"), (TOKEN, "b")], "MessageSid=SM1&MessageStatus=sent"),
        (&[], "{}"),
    ];

    for (headers, body) in odd {
        let rejection = rejection(Provider::Twilio, &raw_event(headers, body));
        assert_eq!((rejection.reason, rejection.whole), (reason::MISSING_ID, true), "{body}");
        assert!(rejection.detail.contains(TOKEN), "{}", rejection.detail);
    }
}

#[test]
fn a_form_is_answered_with_no_instructions_and_a_stream_with_nothing() {
    let thanks = |body: &str| Provider::Twilio.thanks(&Request::posted(&HeaderMap::new(), body.as_bytes(), at(0)));

    assert_eq!(thanks(FORM), NO_INSTRUCTIONS);
    assert_eq!(thanks(" [{}]"), Answer::OK);
}
