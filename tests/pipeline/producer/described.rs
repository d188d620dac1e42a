//! A source that its settings describe: what the door believes, and what it would lose if it believed more.

use chrono::Utc;
use providers::Provider;
use serde_json::{Value, json};
use vocabulary::Source;

use super::door::{Door, SECRET, door, signature, source};

fn described(secret: &str, settings: &Value) -> Source {
    let settings = settings.as_object().unwrap().clone();
    Provider::Generic.check_settings(&settings).unwrap();
    Source { provider: "generic".into(), secrets: vec![secret.to_owned().into()], settings, ..source("wa") }
}

async fn door_of(source: &Source) -> Door {
    let door = door().await;
    door.publish(2, std::slice::from_ref(source), Utc::now()).await;
    door.intake.look(Utc::now()).await;
    door
}

fn by_hmac(signed: &str) -> Value {
    json!({"algorithm": "hmac-sha256", "signed": signed, "signature_header": "x-tag", "form": "prefix",
        "prefix": "sha256=", "key_hash": true})
}

/// Else whoever has seen a request could send its bytes again, as another body under another key.
#[tokio::test]
async fn no_byte_can_be_moved_from_a_body_to_the_id_that_is_signed_behind_it() {
    let mut settings = by_hmac("{body}.{id}");
    settings["id_header"] = "x-id".into();
    let door = door_of(&described(SECRET, &settings)).await;
    let tag = signature(SECRET, b"{}.a.b");

    let as_signed = door.post(&[("x-tag", &tag), ("x-id", "b")], b"{}.a").await;
    let moved = door.post(&[("x-tag", &tag), ("x-id", "a.b")], b"{}").await;

    assert_eq!((as_signed.status, moved.status), (200, 401));
    assert_eq!(door.stored().await.len(), 1);
}

#[tokio::test]
async fn no_zero_can_be_moved_from_a_body_to_the_time_that_is_signed_behind_it() {
    let mut settings = by_hmac("{body}{timestamp}");
    settings["timestamp_header"] = "x-time".into();
    let door = door_of(&described(SECRET, &settings)).await;
    let now = Utc::now().timestamp().to_string();
    let tag = signature(SECRET, format!("10{now}").as_bytes());

    let as_signed = door.post(&[("x-tag", &tag), ("x-time", &now)], b"10").await;
    let moved = door.post(&[("x-tag", &tag), ("x-time", &format!("0{now}"))], b"1").await;

    assert_eq!((as_signed.status, moved.status), (200, 401));
    assert_eq!(door.stored().await.len(), 1);
}

#[tokio::test]
async fn a_token_that_is_nothing_but_its_prefix_opens_the_door_to_nobody() {
    let settings =
        json!({"algorithm": "equal", "signature_header": "x-token", "secret_prefix": "tok_", "key_hash": true});
    let door = door_of(&described("tok_", &settings)).await;

    for token in ["", "tok_"] {
        assert_eq!(door.post(&[("x-token", token)], b"{}").await.status, 401, "{token:?}");
    }
}

/// Else the second would be taken for the first once more, and lost.
#[tokio::test]
async fn two_ids_that_are_one_as_a_double_are_two_keys() {
    let mut settings = by_hmac("{body}");
    settings.as_object_mut().unwrap().remove("key_hash");
    settings["key_pointer"] = "/id".into();
    let source = described(SECRET, &settings);
    let door = door_of(&source).await;

    for body in [r#"{"id":36893488147419103233}"#, r#"{"id":36893488147419103234}"#] {
        let tag = signature(SECRET, body.as_bytes());
        assert_eq!(door.post(&[("x-tag", &tag)], body.as_bytes()).await.status, 200);
    }

    let stored = door.stored().await;
    let items = stored.iter().flat_map(|raw_event| Provider::Generic.split(&source, raw_event));
    let keys: Vec<_> = items.map(|item| item.unwrap().key.as_str().to_owned()).collect();
    assert_eq!(keys, ["36893488147419103233", "36893488147419103234"]);
}
