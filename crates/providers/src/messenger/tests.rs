use serde_json::{Value, json};
use vocabulary::{Change, Direction, Effect, Event, Item, NewMessage, Progress, Rejection};

use super::*;
use crate::{
    Provider, reason,
    testing::{at, genuine, raw_event, source_of},
};

/// Computed by this project (Meta publishes none with a body): the same value as Meta escapes it, and as plain UTF-8.
const ESCAPED: (&str, &str) = (
    r#"{"text":"\u00e4\u00f6\u00e5 \/ \u003C"}"#,
    "sha256=8696561532d7634d6e15a8ab1f651b10760272f6ddc6b528b49dc3510b5ccf7d",
);
const PLAIN: &str = r#"{"text":"äöå / <"}"#;

fn split(body: impl ToString) -> Vec<Item> {
    Provider::Messenger.split(&source_of(Provider::Messenger, "app"), &raw_event(&[], &body.to_string()))
}

/// The events of a body, none of whose items is rejected.
fn events(body: impl ToString) -> Vec<Event> {
    split(body).into_iter().map(|item| item.unwrap()).collect()
}

fn in_list(list: &str, items: &[Value]) -> Value {
    json!({"object": "page", "entry": [{"id": "42", "time": 1_458_692_752_478_i64, list: items}]})
}

/// An item of a person's, in milliseconds.
fn item(name: &str, own: Value) -> Value {
    json!({"sender": {"id": "7"}, "recipient": {"id": "42"}, "timestamp": 1_458_692_752_478_i64, name: own})
}

fn event(item: &Value) -> Event {
    events(in_list("messaging", std::slice::from_ref(item))).remove(0)
}

fn rejection(item: &Value) -> Rejection {
    let [item] = <[Item; 1]>::try_from(split(in_list("messaging", std::slice::from_ref(item)))).unwrap();
    item.unwrap_err()
}

fn new_message(event: &Event) -> &NewMessage {
    let Effect::Message(message) = &event.effect else { panic!("no message: {event:?}") };
    message
}

#[test]
fn both_take_what_meta_signed_over_the_exact_bytes_and_not_what_they_mean() {
    for provider in [Provider::Messenger, Provider::Instagram] {
        let source = source_of(provider, "test_app_secret");
        let header = (SIGNATURE.header, ESCAPED.1);

        assert!(genuine(&source, &[header], ESCAPED.0.as_bytes()));
        assert!(!genuine(&source, &[header], PLAIN.as_bytes()));
        assert!(!genuine(&source, &[header, header], ESCAPED.0.as_bytes()));
        assert!(!genuine(&source, &[], ESCAPED.0.as_bytes()));
    }
}

#[test]
fn both_answer_the_handshake_to_whoever_knows_the_verify_token() {
    for provider in [Provider::Messenger, Provider::Instagram] {
        let source = Source { verify_token: Some("word".into()), ..source_of(provider, "app") };
        let asked = |token: &str| {
            let query = [("hub.mode", "subscribe"), ("hub.challenge", "1158201444"), ("hub.verify_token", token)];
            provider.handshake(&source, &query.map(|(name, value)| (name.to_owned(), value.to_owned())))
        };

        assert_eq!(asked("word"), Handshake::Answer("1158201444".into()));
        assert_eq!(asked("wor"), Handshake::Refused);
    }
}

/// Meta's page of the event `messages`.
#[test]
fn a_message_is_known_by_its_mid_and_keeps_its_sender_text_and_what_it_answers() {
    let own = json!({"mid": "m_1", "text": "hello, world!", "reply_to": {"mid": "m_0"}, "referral": {"ref": "ad"},
        "quick_reply": {"payload": "YES"}});

    let event = event(&item("message", own));

    assert_eq!(
        (event.key.as_str(), &event.kind[..], event.occurred_at.unwrap().timestamp_millis()),
        ("m_1", "message", 1_458_692_752_478)
    );
    let message = new_message(&event);
    assert_eq!((message.external_id.as_str(), message.direction), ("m_1", Direction::Incoming));
    assert_eq!(message.sender.as_ref().unwrap().id.as_deref(), Some("7"));
    assert_eq!(message.content.as_deref(), Some("hello, world!"));
    assert_eq!((&message.context, &message.referral), (&Some(json!({"mid": "m_0"})), &Some(json!({"ref": "ad"}))));
    assert_eq!(message.details, Some(json!({"message": {"quick_reply": {"payload": "YES"}}})));
}

#[test]
fn attachments_keep_where_they_are_and_what_else_is_said_of_them() {
    let image = json!({"type": "image", "payload": {"url": "https://cdn.example/1.jpg"}});
    let link = json!({"type": "fallback", "title": "A page", "url": "https://example.com/", "payload": null});

    let event = event(&item("message", json!({"mid": "m_1", "attachments": [image, link]})));

    let [first, second] = &new_message(&event).attachments[..] else { panic!() };
    assert_eq!((&first.kind[..], first.url.as_deref()), ("image", Some("https://cdn.example/1.jpg")));
    assert_eq!((&second.kind[..], second.url.as_deref()), ("fallback", Some("https://example.com/")));
    assert_eq!((&first.data, &second.data), (&Some(image), &Some(link)));
}

#[test]
fn an_echo_is_outgoing_under_a_key_of_its_own_and_says_to_whom_it_went() {
    let echo = json!({"sender": {"id": "42"}, "recipient": {"id": "7"}, "timestamp": 1,
        "message": {"mid": "m_1", "is_echo": true, "app_id": 15, "text": "hi"}});

    let event = event(&echo);

    let message = new_message(&event);
    assert_eq!((event.key.as_str(), message.external_id.as_str()), ("echo:m_1", "m_1"));
    assert_eq!((message.direction, &message.sender), (Direction::Outgoing, &None));
    assert_eq!(message.details, Some(json!({"to": "7", "message": {"app_id": 15}})));
}

#[test]
fn what_is_done_to_a_message_is_no_redelivery_of_it() {
    let done = [
        item("message", json!({"mid": "m_1", "text": "hi"})),
        item("message", json!({"mid": "m_1", "is_deleted": true})),
        item("message", json!({"mid": "m_1", "is_echo": true})),
        item("message_edit", json!({"mid": "m_1", "text": "ho", "num_edit": "1"})),
        item("message_edit", json!({"mid": "m_1", "text": "hi", "num_edit": 2})),
        item("reaction", json!({"mid": "m_1", "action": "react", "emoji": "👍", "reaction": "like"})),
        item("reaction", json!({"mid": "m_1", "action": "unreact"})),
        item("read", json!({"mid": "m_1"})),
        item("postback", json!({"mid": "m_1", "title": "Yes", "payload": "YES"})),
    ];

    let mut keys: Vec<_> = events(in_list("messaging", &done)).into_iter().map(|event| event.key).collect();

    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), done.len());
}

#[test]
fn a_deletion_revokes_an_edit_edits_and_a_reading_that_names_its_message_moves_its_status() {
    let deleted = event(&item("message", json!({"mid": "m_1", "is_deleted": true})));
    let edited = event(&item("message_edit", json!({"mid": "m_1", "text": "ho", "num_edit": "1"})));
    let seen = event(&item("read", json!({"mid": "m_1"})));

    assert_eq!(deleted.effect, Effect::Change { target: "m_1".into(), change: Change::Revoke });
    let change = Change::Edit { content: Some("ho".into()), attachments: Vec::new() };
    assert_eq!((edited.key.as_str(), edited.effect), ("edit:m_1:1", Effect::Change { target: "m_1".into(), change }));
    let Effect::Status(update) = seen.effect else { panic!() };
    assert_eq!((seen.key.as_str(), update.target.as_str(), update.progress), ("m_1:read", "m_1", Some(Progress::Read)));
}

#[test]
fn a_reaction_says_by_whom_it_is_and_without_one_it_is_taken_back() {
    let reacted = |own| match event(&item("reaction", own)).effect {
        Effect::Change { target, change: Change::Reaction(reaction) } => (target, reaction.from, reaction.emoji),
        other => panic!("{other:?}"),
    };
    let by = |emoji: Option<&str>| ("m_1".to_owned(), Some("7".to_owned()), emoji.map(str::to_owned));

    assert_eq!(reacted(json!({"mid": "m_1", "action": "react", "emoji": "👍", "reaction": "like"})), by(Some("👍")));
    assert_eq!(reacted(json!({"mid": "m_1", "action": "react", "reaction": "love"})), by(Some("love")));
    assert_eq!(reacted(json!({"mid": "m_1", "action": "unreact", "emoji": "👍"})), by(None));
}

#[test]
fn a_button_that_is_pressed_twice_is_two_postbacks_and_so_are_two_buttons() {
    let item_at = |at: i64, postback: Value| json!({"sender": {"id": "7"}, "recipient": {"id": "42"}, "timestamp": at, "postback": postback});
    let press = |at: i64, payload: &str| event(&item_at(at, json!({"mid": "m_1", "title": "Yes", "payload": payload})));

    let pressed = [press(1, "YES"), press(2, "YES"), press(1, "YES, TOO")];

    let mut keys = pressed.each_ref().map(|event| &event.key).to_vec();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 3);
    assert_eq!(pressed[0].key, press(1, "YES").key);
    assert_eq!((&pressed[0].kind[..], &pressed[0].effect), ("postback", &Effect::Notice));
}

/// Meta's pages of the events `message_deliveries`, `message_reads` and `messaging_handovers`.
#[test]
fn what_has_no_id_is_a_notice_known_by_what_it_says_and_by_whose_page_it_is() {
    let items = [
        item("delivery", json!({"mids": ["m_1", "m_2"], "watermark": 1_458_668_856_253_i64})),
        item("read", json!({"watermark": 1_458_668_856_253_i64})),
        item("pass_thread_control", json!({"new_owner_app_id": "123"})),
        item("postback", json!({"title": "Yes", "payload": "YES"})),
    ];
    let of_page = |id: &str| events(json!({"object": "page", "entry": [{"id": id, "messaging": items}]}));

    let events = of_page("42");

    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["delivery", "read", "pass_thread_control", "postback"]);
    for (event, other) in events.iter().zip(of_page("43")) {
        assert_eq!(event.effect, Effect::Notice);
        assert!(event.key.as_str().starts_with(&format!("{}:", event.kind)) && event.key != other.key, "{event:?}");
    }
}

#[test]
fn no_key_changes_with_the_time_of_the_entry_or_the_order_of_members() {
    let sent = |time: i64, item: &str| {
        let body = format!(
            r#"{{"object":"page","entry":[{{"time":{time},"id":"42","messaging":[{item}],"changes":[{{"field":"feed","value":{{"verb":"add"}}}}]}}]}}"#
        );
        events(body).into_iter().map(|event| event.key).collect::<Vec<_>>()
    };
    let first = r#"{"sender":{"id":"7"},"timestamp":5,"read":{"watermark":4,"seq":1}}"#;
    let again = r#"{"read": {"seq": 1, "watermark": 4}, "timestamp": 5, "sender": {"id": "7"}}"#;

    assert_eq!(sent(1, first), sent(2, again));
    assert_ne!(sent(1, first), sent(1, &first.replace("\"timestamp\":5", "\"timestamp\":6")));
}

#[test]
fn what_another_app_handles_is_told_and_makes_no_message() {
    let items =
        [item("message", json!({"mid": "m_1", "text": "hi"})), item("message", json!({"mid": "m_2", "is_echo": true}))];
    let as_change = json!({"field": "standby", "value": items[0]});

    let standby = events(in_list("standby", &items));
    let change = events(in_list("changes", &[as_change])).remove(0);

    let keys: Vec<_> = standby.iter().map(|event| event.key.as_str()).collect();
    assert_eq!(keys, ["standby:m_1", "standby:echo:m_2"]);
    assert_eq!(change.key, standby[0].key);
    assert!(standby.iter().chain([&change]).all(|event| event.kind == "standby" && event.effect == Effect::Notice));
}

/// Meta's page of the event `messaging_postbacks`, where the time is in seconds.
#[test]
fn an_item_that_is_sent_as_a_change_is_the_same_item() {
    let value = json!({"sender": {"user_ref": "U"}, "recipient": {"id": "42"}, "timestamp": "1527459824", "postback": {"mid": "m_1", "title": "T"}});
    let message = json!({"field": "messages", "value": item("message", json!({"mid": "m_2", "text": "hi"}))});

    let events =
        events(in_list("changes", &[json!({"field": "messaging_postbacks", "value": value.clone()}), message.clone()]));

    assert_eq!((events[0].key.clone(), &events[0].kind[..]), (event(&value).key, "postback"));
    assert_eq!(events[0].occurred_at, Some(at(1_527_459_824)));
    assert_eq!((events[1].key.as_str(), new_message(&events[1]).content.as_deref()), ("m_2", Some("hi")));
    assert_eq!(events[1].raw, message.to_string());
}

#[test]
fn a_change_is_a_notice_of_its_field_also_where_the_entry_is_the_change() {
    let comment = json!({"id": "c_1", "text": "nice", "media": {"id": "1"}});
    let of = |entry: Value| {
        let body = json!({"object": "instagram", "entry": [entry]}).to_string();
        let items = Provider::Instagram.split(&source_of(Provider::Instagram, "app"), &raw_event(&[], &body));
        items.into_iter().map(|item| item.unwrap()).collect::<Vec<_>>()
    };

    let listed = of(json!({"id": "42", "changes": [{"field": "comments", "value": comment}]}));
    let bare = of(json!({"id": "42", "time": 5, "field": "comments", "value": comment}));

    assert_eq!((listed.len(), bare.len()), (1, 1));
    for event in listed.iter().chain(&bare) {
        assert_eq!((&event.kind[..], &event.effect), ("comments", &Effect::Notice));
    }
}

#[test]
fn a_list_of_tomorrow_is_told_by_its_name() {
    let [event] = &events(in_list("calls", &[json!({"id": "1"})]))[..] else { panic!() };

    assert_eq!((&event.kind[..], &event.effect), ("calls", &Effect::Notice));
}

#[test]
fn one_odd_item_does_not_cost_the_others_and_is_said_to_be_where_it_is() {
    let odd = [
        (item("message", json!({"text": "hi"})), reason::MISSING_ID, "message.mid"),
        (item("message", json!({"mid": "m", "text": 7})), reason::WRONG_TYPE, "message.text"),
        (item("message", json!({"mid": "m", "attachments": {}})), reason::WRONG_TYPE, "message.attachments"),
        (item("message", json!("hi")), reason::WRONG_TYPE, "message"),
        (item("message_edit", json!({"mid": "m", "text": "t"})), reason::WRONG_TYPE, "message_edit.num_edit"),
        (item("message_edit", json!({"mid": "m", "num_edit": 1})), reason::WRONG_TYPE, "message_edit.text"),
        (item("reaction", json!({"mid": "m", "action": "react"})), reason::WRONG_TYPE, "reaction.reaction"),
        (item("reaction", json!({"action": "unreact"})), reason::MISSING_ID, "reaction.mid"),
        (item("read", json!({"mid": ""})), reason::MISSING_ID, "read.mid"),
        (json!(7), reason::WRONG_TYPE, ""),
    ];

    for (item, reason, place) in odd {
        let rejection = rejection(&item);
        let place = format!("entry[0].messaging[0]{}{place}:", if place.is_empty() { "" } else { "." });
        assert_eq!((rejection.reason, rejection.raw, rejection.whole), (reason, item.to_string().into(), false));
        assert!(rejection.detail.starts_with(&place), "{} at {place}", rejection.detail);
    }
    let fine = self::item("message", json!({"mid": "m_1"}));
    let items = split(in_list("messaging", &[fine.clone(), json!(7), fine]));
    assert_eq!(items.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn an_entry_that_holds_nothing_that_we_know_is_one_rejection_and_its_mates_go_on() {
    let message = item("message", json!({"mid": "m_1"}));
    let body = json!({"object": "page", "entry": [7, {"id": "1"}, {"messaging": {}}, {"messaging": []}, {"messaging": [message]}]});

    let items = split(body);

    let details: Vec<_> = items.iter().map(|item| item.as_ref().err().map(|fault| fault.detail.as_str())).collect();
    let expected = [
        Some("entry[0]: expected an object, found a number"),
        Some("entry[1].messaging: expected an array (or standby, or changes), found nothing"),
        Some("entry[2].messaging: expected an array, found an object"),
        None,
    ];
    assert_eq!(details, expected);
}

#[test]
fn what_is_about_something_else_is_rejected_whole_and_said_to_be() {
    for (body, reason) in [
        ("[]", reason::NOT_JSON),
        ("{}", reason::WRONG_TYPE),
        (r#"{"object":"page"}"#, reason::WRONG_TYPE),
        (r#"{"object":"instagram","entry":[]}"#, reason::WRONG_TYPE),
    ] {
        let [item] = <[Item; 1]>::try_from(split(body)).unwrap();
        let rejection = item.unwrap_err();
        assert_eq!((rejection.reason, rejection.whole), (reason, true), "{body}");
    }
    let detail = split(r#"{"object":"instagram","entry":[]}"#).remove(0).unwrap_err().detail;
    assert_eq!(detail, r#"object: "instagram" is not "page", which a source of this provider takes"#);
}
