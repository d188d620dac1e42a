//! Promises about WhatsApp's raw events. `D.n` names a behaviour of the seed that a test holds, or departs from.

mod amendments;
mod door;
mod messages;
mod notices;
mod properties;
mod shapes;
mod shared;
mod statuses;

use bytes::Bytes;
use chrono::DateTime;
use serde_json::{Value, json};
use vocabulary::{Effect, Event, Item, NewMessage, RawEvent, Rejection, Source};

use crate::Provider;

macro_rules! fixtures {
    ($($name:literal)*) => {
        pub(crate) const FIXTURES: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!("../../../../../tests/fixtures/whatsapp/", $name, ".json")))),*];
    };
}

fixtures! {
    "01_text" "02_text_reply_with_context" "04_image_caption" "05_audio_voice" "07_document_accented_filename"
    "09_location" "11_contacts_two_cards" "13_reaction" "15_button_template_reply" "16_interactive_button_reply"
    "18_interactive_nfm_reply_flow" "19_text_with_referral_ctwa" "21_unsupported_131051" "26_status_sent"
    "27_status_delivered" "28_status_read" "29_status_failed" "31_echo_text" "35_batch_two_changes_three_messages"
    "36_messages_and_statuses_together" "39_flat_360dialog_text" "42_unknown_type_without_body"
}

const MANIFEST: &str = include_str!("../../../../../tests/fixtures/whatsapp/MANIFEST.json");

fn fixture(name: &str) -> &'static [u8] {
    FIXTURES.iter().find(|(known, _)| *known == name).unwrap().1
}

fn source() -> Source {
    Source {
        id: "wa".parse().unwrap(),
        account_id: "acme".parse().unwrap(),
        name: "Support".into(),
        provider: "whatsapp".into(),
        enabled: true,
        secrets: vec!["fixture-app-secret".into()],
        verify_token: Some("fixture-verify-token".into()),
        tokens: Vec::new(),
        body_limit: None,
        settings: serde_json::Map::new(),
        revision: 1,
    }
}

fn split_by(source: &Source, body: impl Into<Bytes>) -> Vec<Item> {
    let raw_event = RawEvent {
        source_id: source.id.clone(),
        received_at: DateTime::UNIX_EPOCH,
        headers: Vec::new(),
        body: body.into(),
    };
    Provider::WhatsApp.split(source, &raw_event)
}

fn split(body: impl Into<Bytes>) -> Vec<Item> {
    split_by(&source(), body)
}

fn events(body: impl Into<Bytes>) -> Vec<Event> {
    split(body).into_iter().map(|item| item.unwrap()).collect()
}

fn event(body: impl Into<Bytes>) -> Event {
    let mut events = events(body);
    assert_eq!(events.len(), 1);
    events.remove(0)
}

fn rejection(body: impl Into<Bytes>) -> Rejection {
    let mut items = split(body);
    assert_eq!(items.len(), 1);
    items.remove(0).unwrap_err()
}

fn new_message(event: &Event) -> &NewMessage {
    match &event.effect {
        Effect::Message(message) => message,
        other => panic!("no message: {other:?}"),
    }
}

/// A request with one change.
fn request(field: &str, value: &Value) -> String {
    json!({
        "object": "whatsapp_business_account",
        "entry": [{"id": "880000000000007", "changes": [{"value": value, "field": field}]}],
    })
    .to_string()
}

/// A value of the fixtures' phone number with one more member.
fn value(list: &str, items: Value) -> Value {
    json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100042", "phone_number_id": "990000000000042"},
        "contacts": [{"profile": {"name": "Ines Okafor"}, "wa_id": "15550101234"}],
        list: items,
    })
}

/// A message of a type, with that type's object.
fn message(kind: &str, own: Value) -> Value {
    json!({"from": "15550101234", "id": "wamid.1", "timestamp": "1771000000", "type": kind, kind: own})
}

fn received(message: &Value) -> String {
    request("messages", &value("messages", json!([message])))
}

/// Adds a member to an object, or replaces it.
fn with(mut object: Value, name: &str, member: Value) -> Value {
    object[name] = member;
    object
}
