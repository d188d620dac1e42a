//! What the producer asks: signature, handshake, settings.

use chrono::DateTime;
use http::{HeaderMap, HeaderValue};
use ring::hmac;

use super::*;
use crate::{Handshake, Request, SettingsError, Verdict};

const SIGNATURE: &str = "x-hub-signature-256";

/// Self-computed (there is no published vector with a body): the same value as Meta escapes it, and as plain UTF-8.
const ESCAPED: (&str, &str) = (
    r#"{"text":"\u00e4\u00f6\u00e5 \/ \u003C"}"#,
    "sha256=8696561532d7634d6e15a8ab1f651b10760272f6ddc6b528b49dc3510b5ccf7d",
);
const PLAIN: (&str, &str) =
    (r#"{"text":"äöå / <"}"#, "sha256=f328417244341896cc0ee42257038458a1cb97982a838957cc670862da7b8651");

const DOCUMENTED: (&str, &str) = (
    r#"{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":"106540352242922"},"contacts":[{"profile":{"name":"Sheena Nelson"},"wa_id":"16505551234"}],"messages":[{"from":"16505551234","id":"wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQTRBNjU5OUFFRTAzODEwMTQ0RgA=","timestamp":"1749416383","type":"text","text":{"body":"Does it come in another color?"}}]},"field":"messages"}]}]}"#,
    "sha256=ded1d1d9621cffa39832ccf2b330fa476b4dc8ec2a5d102e1e554312b3f21d42",
);

fn with_secrets(secrets: &[&str]) -> Source {
    Source { secrets: secrets.iter().map(|secret| (*secret).into()).collect(), ..source() }
}

fn signed(signatures: &[&str]) -> HeaderMap {
    signatures.iter().map(|signature| (SIGNATURE.parse().unwrap(), signature.parse().unwrap())).collect()
}

fn sign(secret: &str, body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body);
    format!("sha256={}", tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn is_genuine(source: &Source, headers: &HeaderMap, body: &[u8]) -> bool {
    Provider::WhatsApp.verify(source, &Request::posted(headers, body, DateTime::UNIX_EPOCH)) == Verdict::Genuine
}

#[test]
fn every_fixture_is_genuine_by_its_signature_in_the_manifest_and_by_no_other() {
    let manifest: Value = serde_json::from_str(MANIFEST).unwrap();
    assert_eq!(manifest["files"].as_object().unwrap().len(), FIXTURES.len());

    for (name, body) in FIXTURES {
        let signature = manifest["files"][format!("{name}.json")]["x_hub_signature_256"].as_str().unwrap();
        let headers = signed(&[signature]);

        assert!(is_genuine(&source(), &headers, body), "{name}");
        assert!(!is_genuine(&source(), &headers, &[body, &b"\n"[..]].concat()), "{name}");
        assert!(!is_genuine(&with_secrets(&["another"]), &headers, body), "{name}");
    }
}

#[test]
fn the_exact_bytes_are_signed_not_what_they_mean() {
    let source = with_secrets(&["test_app_secret"]);

    for (body, signature) in [DOCUMENTED, ESCAPED, PLAIN] {
        assert!(is_genuine(&source, &signed(&[signature]), body.as_bytes()));
    }
    assert!(!is_genuine(&source, &signed(&[ESCAPED.1]), PLAIN.0.as_bytes()));
    assert!(!is_genuine(&source, &signed(&[PLAIN.1]), ESCAPED.0.as_bytes()));
}

/// D.17
#[test]
fn any_one_of_several_secrets_may_have_signed() {
    let source = with_secrets(&["old", "new"]);

    for secret in ["old", "new"] {
        assert!(is_genuine(&source, &signed(&[&sign(secret, b"body")]), b"body"));
    }
    assert!(!is_genuine(&source, &signed(&[&sign("older", b"body")]), b"body"));
}

/// D.16, but there is no source that takes unsigned requests.
#[test]
fn a_source_without_a_secret_takes_nothing_not_even_what_the_empty_secret_signed() {
    for secrets in [&[][..], &[""]] {
        assert!(!is_genuine(&with_secrets(secrets), &signed(&[&sign("", b"body")]), b"body"));
    }
    assert!(!is_genuine(&with_secrets(&["", "app"]), &signed(&[&sign("", b"body")]), b"body"));
}

#[test]
fn whatever_is_odd_about_the_signature_header_is_a_forgery() {
    let source = with_secrets(&["app"]);
    let right = sign("app", b"body");
    let digits = right.strip_prefix("sha256=").unwrap();
    assert!(is_genuine(&source, &signed(&[&right]), b"body"));

    let odd = [
        String::new(),
        digits.to_owned(),
        format!("sha1={digits}"),
        format!("SHA256={digits}"),
        format!(" sha256={digits}"),
        format!("{right}0"),
        right[..right.len() - 2].to_owned(),
        format!("sha256={}", "zz".repeat(32)),
        format!("sha256=+{}", &digits[1..]),
        format!("{right},{right}"),
    ];

    for signature in odd {
        let headers = HeaderMap::from_iter([(SIGNATURE.parse().unwrap(), HeaderValue::from_str(&signature).unwrap())]);
        assert!(!is_genuine(&source, &headers, b"body"), "{signature}");
    }
    assert!(!is_genuine(&source, &HeaderMap::new(), b"body"));
    assert!(!is_genuine(&source, &signed(&[&right, &right]), b"body"), "twice the right one");
    let latin1 = HeaderMap::from_iter([(SIGNATURE.parse().unwrap(), HeaderValue::from_bytes(b"sha256=\xe9").unwrap())]);
    assert!(!is_genuine(&source, &latin1, b"body"));
}

fn query(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const ASKED: [(&str, &str); 3] =
    [("hub.mode", "subscribe"), ("hub.challenge", "1158201444"), ("hub.verify_token", "fixture-verify-token")];

/// D.11
#[test]
fn the_right_verify_token_gets_the_challenge_back_as_it_came() {
    let mut asked = ASKED;
    asked[1].1 = "<b>&\"";

    let answer = Provider::WhatsApp.handshake(&source(), &query(&asked));

    assert_eq!(answer, Handshake::Answer("<b>&\"".into()));
}

/// D.12
#[test]
fn a_handshake_without_the_right_token_mode_and_challenge_is_refused() {
    let refused = |pairs: &[(&str, &str)]| Provider::WhatsApp.handshake(&source(), &query(pairs)) == Handshake::Refused;
    assert!(!refused(&ASKED));

    for index in 0..ASKED.len() {
        for wrong in ["", "fixture-verify-toke", "fixture-verify-token "] {
            let mut asked = ASKED;
            asked[index].1 = wrong;
            assert!(refused(&asked) || (index == 1 && !wrong.is_empty()), "{asked:?}");
        }
        let without: Vec<_> = (0..ASKED.len()).filter(|other| *other != index).map(|other| ASKED[other]).collect();
        assert!(refused(&without), "{without:?}");
        assert!(refused(&[&ASKED[..], &[ASKED[index]]].concat()), "{} given twice", ASKED[index].0);
    }
}

/// D.12
#[test]
fn a_source_with_a_blank_token_or_none_refuses_every_handshake() {
    for verify_token in [None, Some(String::new().into())] {
        let source = Source { verify_token, ..source() };
        for token in ["", "fixture-verify-token"] {
            let asked = query(&[ASKED[0], ASKED[1], ("hub.verify_token", token)]);
            assert_eq!(Provider::WhatsApp.handshake(&source, &asked), Handshake::Refused);
        }
    }
}

#[test]
fn settings_are_a_phone_number_id_or_nothing_and_the_wrong_one_is_named() {
    let check = |settings: Value| Provider::WhatsApp.check_settings(settings.as_object().unwrap());
    assert_eq!(check(json!({})), Ok(()));
    assert_eq!(check(json!({"phone_number_id": "990000000000042"})), Ok(()));

    for wrong in [json!(""), json!("+1 555"), json!(990_000_000_000_042_i64), json!(null), json!("9".repeat(33))] {
        let error = check(json!({"phone_number_id": wrong})).unwrap_err();
        assert!(matches!(error, SettingsError::Value { field: "phone_number_id", .. }), "{error}");
    }
    let error = check(json!({"phone_number": "1"})).unwrap_err();
    assert_eq!(error.to_string(), "whatsapp has no setting \"phone_number\": it has phone_number_id");
}
