//! What is no message, and what is one only in part: system, standby, history.

use vocabulary::Direction;

use super::*;
use crate::reason;

fn is_hashed(event: &Event, name: &str) -> bool {
    let hash = event.key.as_str().strip_prefix(name).and_then(|rest| rest.strip_prefix(':'));
    event.kind == name && hash.is_some_and(|hash| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn template_status(whitespace: &str) -> String {
    let entry = r#"{"id": "88", "time": 1771000099, "changes": [{"field": "message_template_status_update", "value": {"event": "APPROVED", "message_template_id": 1}}]}"#;
    format!(r#"{{"object": "whatsapp_business_account", "entry": [{entry}]}}"#).replace(' ', whitespace)
}

#[test]
fn a_system_message_is_a_notice_under_its_own_key() {
    for kind in ["user_changed_number", "user_changed_user_id"] {
        let event = event(received(&message("system", json!({"type": kind, "user_id": "US.2", "body": "changed"}))));
        assert_eq!((event.key.as_str(), event.kind.as_str(), &event.effect), ("wamid.1", "system", &Effect::Notice));
    }
}

#[test]
fn a_field_about_the_account_is_a_notice_of_its_name_that_holds_the_whole_change() {
    let event = event(template_status(" "));

    assert!(is_hashed(&event, "message_template_status_update"));
    assert_eq!(event.effect, Effect::Notice);
    assert_eq!(event.occurred_at, DateTime::from_timestamp(1_771_000_099, 0));
    let raw: Value = serde_json::from_slice(&event.raw).unwrap();
    assert_eq!((&raw["field"], &raw["value"]["event"]), (&json!("message_template_status_update"), &json!("APPROVED")));
}

#[test]
fn a_notice_has_the_same_key_when_it_comes_again_with_other_whitespace_and_another_when_it_says_something_else() {
    let key = |body: String| event(body).key;

    assert_eq!(key(template_status(" ")), key(template_status("\n\t")));
    assert_ne!(key(template_status(" ")), key(template_status(" ").replace("APPROVED", "PAUSED")));
    assert_ne!(key(template_status(" ")), key(template_status(" ").replace("1771000099", "1771000100")));
    assert_ne!(key(template_status(" ")), key(template_status(" ").replace("\"88\"", "\"89\"")));
}

/// Meta's pages do not agree on whether a redelivery keeps the time of its entry.
#[test]
fn the_time_of_the_entry_makes_another_notice_only_where_the_notice_has_none_of_its_own() {
    let key = |entry_time: u32, own: &str| {
        let change = format!(r#"{{"field": "account_alerts", "value": {{"alert": "A"{own}}}}}"#);
        event(format!(r#"{{"entry": [{{"id": "88", "time": {entry_time}, "changes": [{change}]}}]}}"#)).key
    };

    assert_ne!(key(1_771_000_099, ""), key(1_771_000_100, ""));
    assert_eq!(key(1_771_000_099, r#", "timestamp": 7"#), key(1_771_000_100, r#", "timestamp": 7"#));
    assert_ne!(key(1_771_000_099, r#", "timestamp": 7"#), key(1_771_000_099, r#", "timestamp": 8"#));
}

/// The key outlives every deploy: a redelivery may come a week later, to a newer latchhook.
#[test]
fn the_key_of_a_notice_is_what_it_was_in_the_first_version() {
    let key = event(template_status(" ")).key;

    let canonical = r#"[{"field":"message_template_status_update","value":{"event":"APPROVED","message_template_id":1}},"88",1771000099,null]"#;
    let digest = ring::digest::digest(&ring::digest::SHA256, canonical.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(key.as_str(), format!("message_template_status_update:{hex}"));
}

#[test]
fn a_field_that_nobody_knows_is_recorded_whatever_its_value_is() {
    for value in [json!({"event": "PARTNER_REMOVED"}), json!("text"), json!([1]), json!(null)] {
        assert!(is_hashed(&event(request("brand_new", &value)), "brand_new"));
    }
}

#[test]
fn errors_and_user_actions_beside_the_messages_are_notices_each() {
    let value = with(
        value("errors", json!([{"code": 1}, {"code": 2}])),
        "user_actions",
        json!([{"action_type": "marketing_messages_link_click", "timestamp": "1771000000"}]),
    );

    let events = events(request("messages", &value));

    assert!(events.iter().all(|event| is_hashed(event, "messages")), "told by the name of their field");
    assert_ne!(events[0].key, events[1].key);
    assert_eq!(events[0].raw, r#"{"code":1}"#);
    assert_eq!(events[2].occurred_at, DateTime::from_timestamp(1_771_000_000, 0));
}

#[test]
fn a_list_that_nobody_knows_beside_the_messages_is_not_lost() {
    let value = with(value("messages", json!([message("text", json!({"body": "hi"}))])), "polls", json!([{"vote": 1}]));

    let events = events(request("messages", &value));

    assert_eq!(events.len(), 2);
    assert!(is_hashed(&events[1], "messages"));
}

#[test]
fn a_change_without_any_item_is_an_item_itself() {
    for value in [value("messages", json!([])), json!({"messaging_product": "whatsapp"})] {
        assert!(is_hashed(&event(request("messages", &value)), "messages"));
    }
}

#[test]
fn a_call_is_a_notice_for_each_thing_that_happens_to_it() {
    let calls = json!([{"id": "wacid.1", "event": "connect", "timestamp": "1"}, {"id": "wacid.1", "event": "terminate", "timestamp": "2"}]);

    let events = events(request("calls", &value("calls", calls)));

    let keys: Vec<_> = events.iter().map(|event| (event.key.as_str(), event.kind.as_str())).collect();
    assert_eq!(keys, [("call:wacid.1:connect", "calls"), ("call:wacid.1:terminate", "calls")]);
}

#[test]
fn a_conversion_is_known_by_its_message_and_its_name() {
    let seen = json!([{"id": "wamid.1", "event_name": "LeadSubmitted", "timestamp": 1_771_000_000}]);

    let event = event(request("automatic_events", &value("automatic_events", seen)));

    assert_eq!((event.key.as_str(), event.kind.as_str()), ("auto:wamid.1:LeadSubmitted", "automatic_events"));
    assert_eq!(event.effect, Effect::Notice);
}

#[test]
fn copies_of_what_another_app_handles_are_notices_under_keys_of_their_own() {
    let mut value = value("messages", json!([message("text", json!({"body": "hi"}))]));
    value["statuses"] = json!([{"id": "wamid.0", "status": "read", "timestamp": "1"}]);
    value["message_echoes"] = json!([with(message("text", json!({"body": "ho"})), "id", json!("wamid.2"))]);

    let events = events(request("standby", &value));

    let keys: Vec<_> = events.iter().map(|event| event.key.as_str()).collect();
    assert_eq!(keys, ["standby:wamid.1", "standby:wamid.0:read", "standby:echo:wamid.2"]);
    assert!(events.iter().all(|event| event.kind == "standby" && event.effect == Effect::Notice));
}

fn history() -> String {
    let message = |from: &str, id: &str, status: &str| json!({"from": from, "id": id, "timestamp": "1739230955", "type": "text", "text": {"body": id}, "history_context": {"status": status}});
    let placeholder =
        json!({"from": "15550101234", "id": "w3", "timestamp": "1739230957", "type": "media_placeholder"});
    let threads = json!([
        {"id": "15550101234", "context": {"user_id": "US.1"}, "messages": [message("15550101234", "w1", "READ"), message("+1 (555) 010-0042", "w2", "DELIVERED")]},
        {"id": "15550105678", "messages": [placeholder]},
    ]);
    let chunk = json!({"metadata": {"phase": 0, "chunk_order": 1, "progress": 55}, "threads": threads});
    request("history", &value("history", json!([chunk])))
}

#[test]
fn each_message_of_a_history_is_recorded_quietly_and_the_chunk_is_told_once() {
    let events = events(history());

    let keys: Vec<_> = events[..3].iter().map(|event| event.key.as_str()).collect();
    assert_eq!(keys, ["history:w1", "history:w2", "history:w3"]);
    assert!(events[..3].iter().all(|event| event.quiet));
    assert_eq!((events.len(), events[3].quiet), (4, false));
    assert!(is_hashed(&events[3], "history"));
    assert_eq!(events[3].raw, r#"{"chunk_order":1,"phase":0,"progress":55}"#, "without its messages");
}

/// Found by the promise that no byte of a body belongs to two items.
#[test]
fn a_history_that_says_nothing_of_itself_does_not_carry_its_messages_a_second_time() {
    let events = events(history().replace("\"metadata\":{\"chunk", "\"other\":{\"chunk"));

    assert_eq!((events.len(), &events[3].raw[..]), (4, &b""[..]));
    assert!(is_hashed(&events[3], "history"));
}

/// Likewise. A chunk that cannot be told as a whole is rejected as a whole, but its messages are not.
#[test]
fn a_history_with_a_part_that_cannot_be_read_keeps_its_messages_and_rejects_only_the_rest() {
    let deep = format!("\"other\":{}{},\"metadata\":{{\"chunk", "[".repeat(200), "]".repeat(200));
    let items = split(history().replace("\"metadata\":{\"chunk", &deep));

    assert!(items[..3].iter().all(Result::is_ok));
    let rejection = items[3].as_ref().unwrap_err();
    assert_eq!((items.len(), &rejection.raw[..]), (4, &br#"{"chunk_order":1,"phase":0,"progress":55}"#[..]));
}

#[test]
fn a_history_tells_the_two_sides_apart_and_keeps_what_became_of_each_message() {
    let events = events(history());
    let messages: Vec<_> = events[..3].iter().map(new_message).collect();

    let directions: Vec<_> = messages.iter().map(|message| message.direction).collect();
    assert_eq!(directions, [Direction::Incoming, Direction::Outgoing, Direction::Incoming]);
    assert_eq!((messages[0].external_id.as_str(), messages[1].sender.is_none()), ("w1", true));
    let details = messages[0].details.as_ref().unwrap();
    assert_eq!(details["history_context"]["status"], "READ");
    assert_eq!(details["thread"], json!({"id": "15550101234", "context": {"user_id": "US.1"}}));
    assert_eq!((events[2].kind.as_str(), &messages[2].content), ("media_placeholder", &None));
}

#[test]
fn two_chunks_of_one_progress_are_told_apart_by_what_they_hold() {
    let key = |body: String| events(body).pop().unwrap().key;

    assert_eq!(key(history()), key(history()));
    assert_ne!(key(history()), key(history().replace("\"w3\"", "\"w4\"")));
}

#[test]
fn the_file_of_a_placeholder_comes_later_under_the_same_wamid_and_is_not_taken_for_it() {
    let image = with(message("image", json!({"id": "7"})), "id", json!("w3"));

    let event = event(request("history", &value("messages", json!([image]))));

    assert_eq!((event.key.as_str(), event.quiet), ("history:media:w3", true));
    assert_eq!(new_message(&event).attachments[0].id.as_deref(), Some("7"));
}

#[test]
fn a_history_that_is_not_shared_is_told_with_its_error() {
    let refused =
        json!([{"metadata": {"phase": 0}, "errors": [{"code": 2_593_109, "title": "History sync is turned off"}]}]);

    let event = event(request("history", &value("history", refused)));

    assert!(is_hashed(&event, "history"));
    assert!(String::from_utf8_lossy(&event.raw).contains("2593109"));
}

#[test]
fn an_odd_thread_costs_neither_its_neighbours_nor_the_notice() {
    let threads = json!([{"id": "1", "messages": "none"}, {"messages": [message("text", json!({"body": "hi"}))]}, 7]);
    let items = split(request("history", &value("history", json!([{"threads": threads}]))));

    let reasons: Vec<_> = items.iter().map(|item| item.as_ref().err().map(|rejection| rejection.reason)).collect();
    assert_eq!(reasons, [Some(reason::WRONG_TYPE), None, Some(reason::WRONG_TYPE), None]);
}
