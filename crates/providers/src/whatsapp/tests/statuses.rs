//! What becomes of outgoing messages. D.50, but a status of a message that is not known yet is kept.

use vocabulary::{Progress, StatusUpdate};

use super::*;

fn status(event: &Event) -> &StatusUpdate {
    match &event.effect {
        Effect::Status(status) => status,
        other => panic!("no status: {other:?}"),
    }
}

fn told(status: &Value) -> String {
    request("messages", &value("statuses", json!([status])))
}

#[test]
fn each_status_of_a_message_is_an_event_of_its_own() {
    let wamid = "wamid.HBgLrSGcNUwZCDWVib68fCnJKGNvbXRe3dsx";
    let fixtures = [
        ("26_status_sent", "sent", Progress::Sent),
        ("27_status_delivered", "delivered", Progress::Delivered),
        ("28_status_read", "read", Progress::Read),
        ("29_status_failed", "failed", Progress::Failed),
    ];

    for (name, word, progress) in fixtures {
        let event = event(fixture(name));
        assert_eq!((event.key.as_str(), event.kind.as_str()), (format!("{wamid}:{word}").as_str(), "status"));
        assert_eq!((status(&event).target.as_str(), status(&event).progress), (wamid, Some(progress)));
        assert_eq!(status(&event).errors.is_some(), progress == Progress::Failed);
    }
}

#[test]
fn a_failure_keeps_all_its_errors() {
    let errors = json!([{"code": 131_026, "title": "a"}, {"code": 131_047, "error_data": {"details": "b"}}]);

    let event = event(told(&json!({"id": "wamid.0", "status": "failed", "timestamp": "1", "errors": errors})));

    assert_eq!(status(&event).errors, Some(errors));
}

#[test]
fn errors_of_a_message_that_did_not_fail_are_no_reason_for_a_failure() {
    let event = event(told(&json!({"id": "wamid.0", "status": "sent", "timestamp": "1", "errors": [{"code": 1}]})));

    assert_eq!(status(&event).errors, None);
}

#[test]
fn played_is_the_furthest_and_an_unknown_word_moves_nothing_but_is_recorded() {
    let played = event(told(&json!({"id": "wamid.0", "status": "played", "timestamp": 1_771_000_000})));
    assert_eq!(status(&played).progress, Some(Progress::Played));
    assert_eq!(played.occurred_at, DateTime::from_timestamp(1_771_000_000, 0));

    let unknown = event(told(&json!({"id": "wamid.0", "status": "deleted", "timestamp": "1"})));
    assert_eq!((status(&unknown).progress, unknown.key.as_str()), (None, "wamid.0:deleted"));
}

#[test]
fn in_a_group_each_participant_has_a_status_of_their_own() {
    let of = |participant: Value| {
        let mut status = json!({"id": "wamid.0", "status": "read", "timestamp": "1", "recipient_id": "g-1", "recipient_type": "group"});
        status.as_object_mut().unwrap().extend(participant.as_object().unwrap().clone());
        event(told(&status)).key.to_string()
    };

    assert_eq!(of(json!({"recipient_participant_id": "1555"})), "wamid.0:read:1555");
    assert_eq!(
        of(json!({"recipient_participant_user_id": "US.1", "recipient_participant_id": "1555"})),
        "wamid.0:read:US.1"
    );
}

#[test]
fn a_status_without_an_id_or_a_word_is_rejected_with_its_path() {
    let without_id = rejection(told(&json!({"status": "read"})));
    assert_eq!(without_id.reason, crate::reason::MISSING_ID);
    assert!(without_id.detail.starts_with("entry[0].changes[0].value.statuses[0].id: "), "{}", without_id.detail);

    let without_word = rejection(told(&json!({"id": "wamid.0"})));
    assert_eq!(without_word.reason, crate::reason::WRONG_TYPE);
}

#[test]
fn the_status_of_a_call_belongs_to_the_call_in_either_field() {
    let ringing = json!({"id": "wacid.1", "type": "call", "status": "RINGING", "timestamp": "1771000000"});

    for field in ["messages", "calls"] {
        let event = event(request(field, &value("statuses", json!([ringing]))));
        assert_eq!((event.key.as_str(), event.kind.as_str()), ("call:wacid.1:RINGING", "calls"));
        assert_eq!(event.effect, Effect::Notice);
    }
}
