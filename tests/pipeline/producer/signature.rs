//! Who may come in: the signature is over the exact bytes, and those bytes are what is kept.

use super::{
    door::{Door, SECRET, door, signature, source},
    http::{exchange, post},
};
use chrono::Utc;
use providers::Provider;

const HEADER: &str = "x-hub-signature-256";

/// From `facts/providers.md` B3: Meta signs the escaped text that it sends.
const ESCAPED: &str = r#"{"text":"\u00e4\u00f6\u00e5 \/ \u003C"}"#;
const ESCAPED_SIGNATURE: &str = "sha256=8696561532d7634d6e15a8ab1f651b10760272f6ddc6b528b49dc3510b5ccf7d";

async fn assert_nothing_is_stored(door: &Door) {
    assert_eq!(door.stored().await, []);
    assert_eq!(door.inbound.depth().await.unwrap().ready, 0);
}

#[tokio::test]
async fn what_is_signed_is_kept_byte_for_byte_whatever_the_bytes() {
    let door = door().await;
    let body = b"\0\xff\xfe not JSON, not UTF-8 \r\n\0";

    let response = door.post_signed(body).await;

    assert_eq!((response.status, response.body.as_slice()), (200, &b""[..]));
    let stored = door.stored().await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].body, body[..]);
    assert_eq!(stored[0].source_id.as_str(), "wa");
    assert!((Utc::now() - stored[0].received_at).num_seconds() < 20);
}

#[tokio::test]
async fn the_provider_s_headers_are_kept_in_lower_case_and_no_others() {
    let door = door().await;
    let source = source("wa");
    let kept = providers::Provider::WhatsApp.door(None, &source.settings).kept_headers;
    let given: Vec<_> = kept.iter().map(|name| name.to_ascii_uppercase()).collect();
    let signature = signature(SECRET, b"{}");
    let mut headers: Vec<_> =
        given.iter().filter(|name| !name.eq_ignore_ascii_case(HEADER)).map(|name| (name.as_str(), "value")).collect();
    headers.extend([("X-Hub-Signature-256", signature.as_str()), ("Cookie", "a=b")]);

    assert_eq!(door.post(&headers, b"{}").await.status, 200);

    let stored = door.stored().await;
    assert!(stored[0].headers.iter().map(|(name, _)| name.as_str()).eq(kept.iter().copied()), "{stored:?}");
}

/// Made into text with U+FFFD they would look the same, and the second event would be lost as a duplicate of the first.
#[tokio::test]
async fn two_ids_that_differ_in_a_byte_that_is_no_text_are_two_keys() {
    let door = door().await;
    let mut code = source("code");
    code.provider = "github".into();
    door.publish(2, std::slice::from_ref(&code), Utc::now()).await;
    door.intake.look(Utc::now()).await;

    for byte in [0xfe, 0xff] {
        let headers = [(HEADER, &*signature(SECRET, b"{}")), ("X-GitHub-Delivery", "id~")];
        let request = post("/hooks/code", &headers, b"{}");
        let request: Vec<_> = request.into_iter().map(|given| if given == b'~' { byte } else { given }).collect();
        assert_eq!(exchange(door.address, &request).await.status, 200);
    }

    let stored = door.stored().await;
    let items: Vec<_> = stored.iter().flat_map(|raw_event| Provider::GitHub.split(&code, raw_event)).collect();
    let keys: Vec<_> = items.into_iter().map(|item| item.unwrap().key.to_string()).collect();
    assert_eq!(keys, ["id\u{fe}", "id\u{ff}"]);
}

#[tokio::test]
async fn the_same_value_written_differently_is_refused() {
    let door = door().await;

    let as_sent = door.post(&[(HEADER, ESCAPED_SIGNATURE)], ESCAPED.as_bytes()).await;
    let serialised_anew = door.post(&[(HEADER, ESCAPED_SIGNATURE)], r#"{"text":"äöå / <"}"#.as_bytes()).await;

    assert_eq!((as_sent.status, serialised_anew.status), (200, 401));
    assert_eq!(door.stored().await.len(), 1);
}

#[tokio::test]
async fn every_secret_of_a_source_opens_the_door_while_they_are_rotated() {
    let door = door().await;
    let mut rotated = source("wa");
    rotated.secrets = ["old", "new"].map(|secret| secret.to_owned().into()).to_vec();
    door.publish(2, &[rotated], Utc::now()).await;
    door.intake.look(Utc::now()).await;

    let mut statuses = Vec::new();
    for secret in ["old", "new", SECRET] {
        statuses.push(door.post(&[(HEADER, &signature(secret, b"{}"))], b"{}").await.status);
    }

    assert_eq!(statuses, [200, 200, 401]);
}

#[tokio::test]
async fn every_bad_signature_gets_the_same_answer_and_leaves_nothing() {
    let door = door().await;
    let good = signature(SECRET, b"{}");
    let of_others = signature("another secret", b"{}");
    let bare = good.trim_start_matches("sha256=");

    let attempts: [&[(&str, &str)]; 6] = [
        &[],
        &[(HEADER, "")],
        &[(HEADER, bare)],
        &[(HEADER, "sha256=00")],
        &[(HEADER, &of_others)],
        // Which of two counts is what proxies disagree on.
        &[(HEADER, &good), (HEADER, &good)],
    ];
    for headers in attempts {
        let answer = door.post(headers, b"{}").await.error();
        assert_eq!(answer, (401, "the signature is missing or not over these bytes".into()), "{headers:?}");
    }

    assert_nothing_is_stored(&door).await;
}
