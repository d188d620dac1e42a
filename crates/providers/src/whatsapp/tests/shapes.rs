//! Bodies that are not as documented: nothing is lost, nobody pays for a neighbour.

use super::*;
use crate::reason;

fn ok() -> Value {
    message("text", json!({"body": "fine"}))
}

/// A request whose middle message is this text.
fn between_two(middle: &str) -> String {
    let (first, last) = (with(ok(), "id", json!("wamid.first")), with(ok(), "id", json!("wamid.last")));
    request("messages", &value("messages", json!([first, "MIDDLE", last]))).replace("\"MIDDLE\"", middle)
}

/// The rejection of the middle message, after its neighbours were seen to be well.
fn middle(middle: &str) -> Rejection {
    let body = Bytes::from(between_two(middle));
    let [first, rejected, last] = <[Item; 3]>::try_from(split(body)).unwrap();
    assert_eq!(first.unwrap().key.as_str(), "wamid.first");
    assert_eq!(last.unwrap().key.as_str(), "wamid.last");
    let rejection = rejected.unwrap_err();
    assert_eq!((&rejection.raw[..], rejection.whole), (middle.as_bytes(), false));
    assert!(rejection.detail.starts_with("entry[0].changes[0].value.messages[1]"), "{}", rejection.detail);
    rejection
}

/// D.13: the producer takes any body; here is where it is read.
#[test]
fn a_body_that_is_no_json_object_is_rejected_whole() {
    for body in ["", "hello", "{\"a\":", "{} {}", "null", "[]", "7", "\u{feff}{}", "{\"a\": \"\n\"}"] {
        let rejection = rejection(body);
        assert_eq!((rejection.reason, rejection.whole), (reason::NOT_JSON, true), "{body:?}");
        assert_eq!(rejection.raw, body);
    }
    assert_eq!(rejection(&b"\xff\xfe"[..]).reason, reason::NOT_JSON);
}

/// D.49, but what is there and cannot be read is kept.
#[test]
fn an_entry_that_is_no_array_is_rejected_whole_and_an_empty_one_holds_nothing() {
    for body in [r#"{"entry": {}}"#, r#"{"entry": "x"}"#, r#"{"entry": null}"#, r#"{"content": "hello"}"#, "{}"] {
        let rejection = rejection(body);
        assert_eq!((rejection.reason, rejection.whole), (reason::WRONG_TYPE, true), "{body}");
    }
    assert_eq!(split(r#"{"entry": []}"#), []);
    assert_eq!(split(r#"{"entry": [{"changes": []}]}"#), []);
}

/// D.24 differs: the flat body belongs to a provider of its own.
#[test]
fn a_flat_body_of_360dialog_is_rejected_whole_and_said_to_be_one() {
    let rejection = rejection(fixture("39_flat_360dialog_text"));

    assert_eq!((rejection.reason, rejection.whole), (reason::WRONG_TYPE, true));
    assert!(rejection.detail.contains("360dialog"), "{}", rejection.detail);
}

#[test]
fn an_entry_or_a_change_of_the_wrong_type_is_one_rejection_and_its_mates_go_on() {
    let change = json!({"field": "messages", "value": value("messages", json!([ok()]))});
    let body = json!({"entry": [7, null, {"id": "1"}, {"changes": {}}, {"changes": ["x", {"value": {}}, {"field": 1}, {"field": "messages"}, change]}]});

    let items = split(body.to_string());

    let details: Vec<_> =
        items.iter().filter_map(|item| item.as_ref().err()).map(|rejection| rejection.detail.as_str()).collect();
    let expected = [
        "entry[0]: expected an object, found a number",
        "entry[1]: expected an object, found nothing",
        "entry[2].changes: expected an array, found nothing",
        "entry[3].changes: expected an array, found an object",
        "entry[4].changes[0]: expected an object, found a string",
        "entry[4].changes[1].field: expected a string, found nothing",
        "entry[4].changes[2].field: expected a string, found a number",
        "entry[4].changes[3].value: expected an object, found nothing",
    ];
    assert_eq!(details, expected);
    assert_eq!(items[8].as_ref().unwrap().key.as_str(), "wamid.1");
}

#[test]
fn a_list_of_the_wrong_type_is_one_rejection_beside_the_others() {
    let value =
        with(value("messages", json!({"id": "wamid.1"})), "statuses", json!([{"id": "wamid.0", "status": "read"}]));

    let items = split(request("messages", &value));

    assert_eq!(
        items[0].as_ref().unwrap_err().detail,
        "entry[0].changes[0].value.messages: expected an array, found an object"
    );
    assert_eq!(items[1].as_ref().unwrap().key.as_str(), "wamid.0:read");
}

/// D.70
#[test]
fn a_message_without_an_id_is_rejected_and_takes_nobody_with_it() {
    for id in [r#"{"type": "text"}"#, r#"{"id": null}"#, r#"{"id": ""}"#] {
        assert_eq!(middle(id).reason, reason::MISSING_ID);
    }
}

/// D.70
#[test]
fn an_id_that_cannot_be_a_key_is_rejected_and_takes_nobody_with_it() {
    assert_eq!(middle(r#"{"id": "a\u0000b"}"#).reason, reason::UNUSABLE_ID);
    assert_eq!(middle(&format!(r#"{{"id": "{}"}}"#, "x".repeat(1025))).reason, reason::UNUSABLE_ID);
}

#[test]
fn the_wrong_json_type_in_what_an_item_is_made_of_is_rejected_and_takes_nobody_with_it() {
    let wrong = [
        "null",
        "[]",
        r#""text""#,
        r#"{"id": 7, "type": "text"}"#,
        r#"{"id": "w", "type": "text", "text": "flat"}"#,
        r#"{"id": "w", "type": "text", "text": {"body": 7}}"#,
        r#"{"id": "w", "type": "image", "image": []}"#,
        r#"{"id": "w", "type": "image", "image": {"caption": {}}}"#,
        r#"{"id": "w", "type": "location", "location": 1}"#,
        r#"{"id": "w", "type": "contacts", "contacts": {}}"#,
        r#"{"id": "w", "type": "order", "order": {"text": 1}}"#,
        r#"{"id": "w", "type": "button", "button": {"text": []}}"#,
        r#"{"id": "w", "type": "interactive", "interactive": {"button_reply": {"title": 1}}}"#,
        r#"{"id": "w", "type": "reaction", "reaction": "👍"}"#,
    ];

    for json in wrong {
        assert_eq!(middle(json).reason, reason::WRONG_TYPE, "{json}");
    }
}

#[test]
fn a_message_whose_type_is_there_and_no_string_is_rejected_and_takes_nobody_with_it() {
    for kind in ["7", r#"["text"]"#, "null", "true", r#"{"a": 1}"#] {
        let rejection = middle(&format!(r#"{{"id": "w", "type": {kind}, "text": {{"body": "hi"}}}}"#));
        assert_eq!(rejection.reason, reason::WRONG_TYPE, "{kind}");
    }
}

#[test]
fn an_item_nested_500_deep_is_rejected_and_takes_nobody_with_it() {
    let deep = format!(r#"{{"id": "w", "type": "hologram", "hologram": {}{}}}"#, "[".repeat(500), "]".repeat(500));

    assert_eq!(middle(&deep).reason, reason::TOO_DEEP);
}

/// serde_json reads nothing that is nested 128 deep, and what we keep is read again as part of a row, or of a payload.
#[test]
fn what_is_taken_can_be_read_again_inside_something_larger_however_deep_it_is() {
    let items = |depth: usize| {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        split(between_two(&format!(r#"{{"id": "w", "type": "hologram", "hologram": {deep}}}"#)))
    };
    let taken: Vec<_> = (90..130).filter_map(|depth| items(depth).swap_remove(1).ok()).collect();
    assert!(!taken.is_empty());

    for event in taken {
        let kept = serde_json::to_string(new_message(&event)).unwrap();
        let larger = format!("{}{kept}{}", "[".repeat(16), "]".repeat(16));
        assert!(serde_json::from_str::<Value>(&larger).is_ok());
    }
}

#[test]
fn a_number_that_no_double_holds_is_rejected_and_takes_nobody_with_it() {
    assert_eq!(middle(r#"{"id": "w", "type": "text", "n": 1e999}"#).reason, reason::UNREADABLE_NUMBER);
}

#[test]
fn bytes_that_are_no_utf8_cost_only_the_item_that_they_are_in() {
    let latin1 =
        |body: String| body.replace("LATIN1", "\u{1}").into_bytes().into_iter().map(|b| if b == 1 { 0xe9 } else { b });

    let inside: Vec<u8> = latin1(between_two(r#"{"id": "w", "type": "text", "text": {"body": "LATIN1"}}"#)).collect();
    let items = split(inside);
    assert_eq!(items[1].as_ref().unwrap_err().reason, reason::NOT_UTF8);
    assert_eq!(
        items[1].as_ref().unwrap_err().raw,
        &b"{\"id\": \"w\", \"type\": \"text\", \"text\": {\"body\": \"\xe9\"}}"[..]
    );
    assert!(items[0].is_ok() && items[2].is_ok());

    let beside: Vec<u8> = latin1(received(&ok()).replace("Ines", "LATIN1")).collect();
    assert_eq!(event(beside).key.as_str(), "wamid.1");
}

#[test]
fn half_a_character_anywhere_costs_nothing() {
    for place in ["Ines", "fine", "metadata", "messaging_product", "15550101234"] {
        let body = received(&ok()).replace(place, r"\ud83d");
        assert_eq!(event(body).key.as_str(), "wamid.1", "{place}");
    }
}

#[test]
fn of_two_members_of_one_name_the_later_counts() {
    let body = received(&ok()).replace(r#""id":"wamid.1""#, r#""id":"wamid.0","id":"wamid.1""#);

    assert_eq!(event(body).key.as_str(), "wamid.1");
}

fn ours(number: &str) -> Source {
    let mut source = source();
    source.settings.insert("phone_number_id".into(), json!(number));
    source
}

/// D.19, but what is not the source's is kept.
#[test]
fn the_items_of_another_phone_number_are_rejected_one_by_one() {
    let body = fixture("36_messages_and_statuses_together");
    assert!(split_by(&ours("990000000000042"), body).iter().all(Result::is_ok));

    let items = split_by(&ours("1"), body);

    assert_eq!(items.len(), 2);
    for (item, event) in items.into_iter().zip(events(body)) {
        let rejection = item.unwrap_err();
        assert_eq!(
            (rejection.reason, rejection.raw, rejection.whole),
            (reason::ANOTHER_PHONE_NUMBER, event.raw, false)
        );
    }
}

/// D.18
#[test]
fn only_the_change_that_is_about_another_number_is_rejected() {
    let mine = json!({"field": "messages", "value": value("messages", json!([ok()]))});
    let theirs = json!({"field": "messages", "value": with(value("messages", json!([ok()])), "metadata", json!({"phone_number_id": 7}))});

    let items = split_by(&ours("990000000000042"), json!({"entry": [{"changes": [theirs, mine]}]}).to_string());

    assert_eq!(items[0].as_ref().unwrap_err().reason, reason::ANOTHER_PHONE_NUMBER);
    assert!(items[1].is_ok());
}

/// A request with a message and a status, with this text as its metadata.
fn about(metadata: &str) -> String {
    let items = with(value("messages", json!([ok()])), "statuses", json!([{"id": "wamid.0", "status": "read"}]));
    request("messages", &with(items, "metadata", json!("METADATA"))).replace("\"METADATA\"", metadata)
}

#[test]
fn a_source_with_a_number_rejects_one_by_one_what_does_not_say_legibly_whose_it_is() {
    let deep = format!(r#"{{"phone_number_id": "222", "deep": {}{}}}"#, "[".repeat(500), "]".repeat(500));
    let unreadable = [
        (r#"{"phone_number_id": ["222"]}"#, reason::WRONG_TYPE),
        (r#"{"phone_number_id": {"id": "222"}}"#, reason::WRONG_TYPE),
        (r#"{"phone_number_id": true}"#, reason::WRONG_TYPE),
        (r#"["222"]"#, reason::WRONG_TYPE),
        (r#""222""#, reason::WRONG_TYPE),
        (r#"{"phone_number_id": 1e999}"#, reason::UNREADABLE_NUMBER),
        (deep.as_str(), reason::TOO_DEEP),
    ];

    for (metadata, reason) in unreadable {
        let items = split_by(&ours("222"), about(metadata));
        let rejections: Vec<_> = items.into_iter().map(Item::unwrap_err).collect();
        let expected = events(about(metadata));
        assert_eq!(rejections.len(), expected.len(), "{metadata}");
        for (rejection, event) in rejections.into_iter().zip(expected) {
            assert_eq!((rejection.reason, rejection.raw, rejection.whole), (reason, event.raw, false), "{metadata}");
            assert!(rejection.detail.starts_with("entry[0].changes[0].value.metadata"), "{}", rejection.detail);
        }
    }
}

#[test]
fn a_number_id_that_is_a_json_number_is_compared_by_its_digits() {
    assert!(split_by(&ours("222"), about(r#"{"phone_number_id": 222}"#)).iter().all(Result::is_ok));

    for item in split_by(&ours("222"), about(r#"{"phone_number_id": 111}"#)) {
        assert_eq!(item.unwrap_err().reason, reason::ANOTHER_PHONE_NUMBER);
    }
}

/// D.20 differs: what concerns the whole account names no number, and is taken.
#[test]
fn what_names_no_number_is_taken() {
    let body = request("account_update", &json!({"event": "VERIFIED_ACCOUNT"}));

    assert!(split_by(&ours("1"), body)[0].is_ok());
    for none in ["null", "{}", r#"{"phone_number_id": null}"#] {
        assert!(split_by(&ours("1"), about(none)).iter().all(Result::is_ok), "{none}");
    }
}

/// D.23 differs: a source that names no number takes all of them.
#[test]
fn a_source_without_a_number_takes_every_number() {
    assert!(split(fixture("01_text"))[0].is_ok());
}

#[test]
fn a_thousand_items_of_which_one_is_odd_are_a_thousand_items() {
    let messages: Vec<_> =
        (0..1000).map(|n| with(ok(), "id", if n == 500 { json!(n) } else { json!(format!("wamid.{n}")) })).collect();

    let items = split(request("messages", &value("messages", json!(messages))));

    assert_eq!(items.len(), 1000);
    assert_eq!(items.iter().filter(|item| item.is_err()).count(), 1);
    assert_eq!(items[999].as_ref().unwrap().key.as_str(), "wamid.999");
}

/// Whoever owns a source can sign what they like, and shares the workers with others.
#[test]
fn a_list_of_a_million_is_one_rejection_and_the_lists_beside_it_go_on() {
    let million = vec![1; 1_000_000];
    let change = |messages: Value| json!({"field": "messages", "value": value("messages", messages)});
    let body = json!({"entry": [{"changes": [change(json!([ok()])), change(json!(million)), change(json!([ok()]))]}]});

    let items = split(body.to_string());

    assert_eq!(items.len(), 3);
    assert_eq!(items[1].as_ref().unwrap_err().reason, reason::TOO_MANY);
    assert!(items[0].is_ok() && items[2].is_ok());
}

#[test]
fn a_body_of_three_megabytes_is_split_without_copying_it() {
    let text = "x".repeat(3_000_000 - 500);
    let body = Bytes::from(received(&message("text", json!({"body": text}))));
    assert!(body.len() <= Provider::WhatsApp.body_limit());

    let event = event(body.clone());

    assert_eq!(new_message(&event).content.as_ref().unwrap().len(), text.len());
    assert!(body.as_ptr_range().contains(&event.raw.as_ptr()));
}
