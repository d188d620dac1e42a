//! The headers that are kept: as they came, whatever they hold; and those that could not have come are refused.

use chrono::Utc;
use producer::Refusal;
use serde_json::json;
use vocabulary::Source;

use super::{
    door::{Door, TOKEN, door, open_to_apps, raw_events_of},
    http::{Connection, head},
};

const LINES: (&str, &str) = ("content-type", "application/x-ndjson");

/// A door to a source whose events are known by a header.
async fn known_by_header() -> Door {
    let door = door().await;
    let settings = json!({"algorithm": "equal", "signature_header": "x-token", "key_header": "x-id"});
    let settings = settings.as_object().unwrap().clone();
    let secrets = vec!["token".to_owned().into()];
    let source = Source { provider: "generic".into(), settings, secrets, ..open_to_apps("wa") };
    door.publish(2, &[source], Utc::now()).await;
    door.intake.look(Utc::now()).await;
    door
}

/// Posts with an `x-id` of these bytes.
async fn post(door: &Door, target: &str, shown: (&str, &str), id: &[u8]) -> u16 {
    let mut connection = Connection::open(door.address).await;
    let head = head(target, &[shown, ("content-length", "2")]);
    let lines = head.strip_suffix(b"\r\n").unwrap();
    connection.send(&[lines, b"x-id: ", id, b"\r\n\r\n{}"].concat()).await;
    connection.receive().await.unwrap().status
}

#[tokio::test]
async fn two_headers_that_differ_in_a_byte_are_two_at_both_doors_also_where_they_are_no_utf_8() {
    let door = known_by_header().await;
    let token = format!("Bearer {TOKEN}");
    let ids: [&[u8]; 3] = [b"caf\xe9", b"caf\xe8", b"caf\xc3\xa9"];

    let mut statuses = Vec::new();
    for id in ids {
        statuses.push(post(&door, "/hooks/wa", ("x-token", "token"), id).await);
        statuses.push(post(&door, &raw_events_of("wa"), ("authorization", &token), id).await);
    }

    assert_eq!(statuses, [200, 202, 200, 202, 200, 202]);
    let kept: Vec<_> = door.stored().await.iter().map(|raw_event| raw_event.headers[0].1.clone()).collect();
    assert_eq!(kept, ["café", "café", "cafè", "cafè", "cafÃ©", "cafÃ©"]);
}

#[tokio::test]
async fn a_line_with_a_header_that_could_not_have_come_is_refused_by_its_name_and_stops_no_other() {
    let door = known_by_header().await;
    let lines = [
        r#"{"body": {"a": 1}, "headers": {"x-id": "1"}}"#,
        r#"{"body": {"a": 2}, "headers": {"x-id": "nul\u0000x"}}"#,
        r#"{"body": {"a": 3}, "headers": {"X-ID": "A", "x-id": "B"}}"#,
        r#"{"body": {"a": 4}, "headers": {"x-id": "4", "x-other": "\u0000"}}"#,
    ];

    let response = door.enqueue(&[LINES], lines.join("\n").as_bytes()).await;

    let results = &response.json()["results"];
    let nul =
        json!({"line": 2, "status": 422, "message": "header x-id has the character U+0000, which no HTTP header has"});
    let twice =
        json!({"line": 3, "status": 422, "message": "header x-id is there twice (case does not count): send it once"});
    assert_eq!((&results[1]["error"], &results[2]["error"]), (&nul, &twice));
    let kept: Vec<_> = door.stored().await.into_iter().flat_map(|raw_event| raw_event.headers).collect();
    assert_eq!(kept, [("x-id".to_owned(), "1".to_owned()), ("x-id".to_owned(), "4".to_owned())]);
}

/// What a provider signs is kept as it is, and nothing of it is refused for what it says of itself.
#[tokio::test]
async fn a_compressed_body_of_an_app_is_refused_with_what_to_do_and_one_of_a_provider_is_kept() {
    let door = known_by_header().await;
    let gzip = ("Content-Encoding", "gzip");

    let refused = [door.enqueue(&[gzip], b"\x1f\x8b").await, door.enqueue(&[gzip, LINES], b"\x1f\x8b").await];
    let plain = door.enqueue(&[("content-encoding", "identity"), ("x-id", "1")], b"{}").await.status;
    let provider = door.post(&[gzip, ("x-token", "token"), ("x-id", "2")], b"\x1f\x8b").await.status;

    for refused in refused {
        assert_eq!((refused.error().0, refused.header("accept-encoding")), (415, Some("identity")));
        assert!(refused.error().1.contains("without Content-Encoding"), "{refused:?}");
    }
    assert_eq!((plain, provider, door.intake.counters().refused(Refusal::Coding)), (202, 200, 2));
    assert_eq!(door.stored().await[1].body.as_ref(), b"\x1f\x8b");
}
