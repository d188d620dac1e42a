//! Payloads: what Meta puts into a body, after the shapes of `tests/fixtures/whatsapp`, and the key of each item.

use std::collections::HashSet;

use bytes::Bytes;
use rand::{Rng, rngs::SmallRng};
use serde_json::{Value, json};

use super::PHONE_NUMBER_ID;

/// Items that stand together in one entry.
const IN_AN_ENTRY: usize = 20;
/// How many requests back the message may lie that a status or a reaction is about.
const REACH: u64 = 30;
/// Texts that were trouble to somebody.
const TEXTS: [&str; 5] =
    ["Hello, is the blue one in stock?", "¿Está en stock? 🙂", "one\0two", "", "\u{202e}\"\\/\r\n"];

/// A message, an echo or a status.
#[derive(Debug, Clone)]
pub(super) struct Item {
    list: List,
    /// What the ledger must know it by.
    key: String,
    json: Value,
}

/// In which list of its change an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Messages,
    Statuses,
    Echoes,
}

impl Item {
    /// The item at this place of the request with this number. Its ids are its own; the message that it is about may be
    /// another's, and unknown.
    pub(super) fn new(seed: u64, number: u64, place: usize, random: &mut SmallRng) -> Self {
        let earlier = number.saturating_sub(random.random_range(1..=REACH));
        let incoming = wamid("in", seed, number, place);
        let person = format!("1555010{:04}", random.random_range(0..200));
        match random.random_range(0..100) {
            0..45 => {
                message(incoming, number, &person, "text", json!({"body": TEXTS[random.random_range(0..TEXTS.len())]}))
            }
            45..50 => message(incoming, number, &person, "image", image(random)),
            50..55 => {
                let target = wamid("in", seed, earlier, place);
                let id = wamid("re", seed, number, place);
                message(id, number, &person, "reaction", json!({"message_id": target, "emoji": "\u{1f44d}"}))
            }
            55..65 => echo(&wamid("out", seed, number, place), number, &person),
            _ => status(&wamid("out", seed, earlier, place), number, &person, random),
        }
    }
}

/// Ids look as Meta's do, with the characters of base64 in them.
fn wamid(way: &str, seed: u64, number: u64, place: usize) -> String {
    format!("wamid.HBgL{way}{seed:x}/{number:x}+{place:x}=")
}

fn time(number: u64) -> String {
    (1_771_000_000 + number / 100).to_string()
}

fn message(id: String, number: u64, person: &str, kind: &str, content: Value) -> Item {
    let json = json!({"from": person, "id": id, "timestamp": time(number), "type": kind, kind: content});
    Item { list: List::Messages, key: id, json }
}

fn image(random: &mut SmallRng) -> Value {
    let id = random.random_range(1_000_000_000_u64..9_999_999_999);
    json!({"id": id.to_string(), "mime_type": "image/jpeg", "sha256": "pIq8b4bXYyN1", "caption": "the blue one"})
}

fn echo(id: &str, number: u64, person: &str) -> Item {
    let json = json!({
        "from": "15550100042", "to": person, "id": id, "timestamp": time(number),
        "type": "text", "text": {"body": "Answered from the phone"},
    });
    Item { list: List::Echoes, key: format!("echo:{id}"), json }
}

/// In any order, as they come.
fn status(id: &str, number: u64, person: &str, random: &mut SmallRng) -> Item {
    let word = ["sent", "delivered", "read"][random.random_range(0..3)];
    let json = json!({
        "id": id, "status": word, "timestamp": time(number), "recipient_id": person,
        "pricing": {"billable": true, "pricing_model": "PMP", "category": "service", "type": "regular"},
    });
    Item { list: List::Statuses, key: format!("{id}:{word}"), json }
}

/// The body that holds these items, and their keys in the order in which they stand in it, each once.
pub(super) fn body(items: &[Item], number: u64) -> (Bytes, Vec<String>) {
    let mut keys = Vec::new();
    let entry: Vec<Value> = items.chunks(IN_AN_ENTRY).map(|items| entry(items, &mut keys)).collect();
    let mut seen = HashSet::new();
    keys.retain(|key: &String| seen.insert(key.clone()));
    // Tells apart what would otherwise be the same body, such as the same status of two requests.
    let body = json!({"object": "whatsapp_business_account", "entry": entry, "number": number});
    (Bytes::from(body.to_string()), keys)
}

/// Messages and statuses share a change; echoes are another field, hence have one of their own.
fn entry(items: &[Item], keys: &mut Vec<String>) -> Value {
    let mut list = |list: List| {
        let of_list = items.iter().filter(|item| item.list == list);
        keys.extend(of_list.clone().map(|item| item.key.clone()));
        of_list.map(|item| item.json.clone()).collect::<Vec<_>>()
    };
    let (messages, statuses, echoes) = (list(List::Messages), list(List::Statuses), list(List::Echoes));
    let mut changes = Vec::new();
    if !messages.is_empty() || !statuses.is_empty() {
        let mut value = value();
        if !messages.is_empty() {
            value["contacts"] = json!([{"profile": {"name": "Ines Okafor"}, "wa_id": messages[0]["from"]}]);
            value["messages"] = messages.into();
        }
        if !statuses.is_empty() {
            value["statuses"] = statuses.into();
        }
        changes.push(json!({"value": value, "field": "messages"}));
    }
    if !echoes.is_empty() {
        let mut value = value();
        value["message_echoes"] = echoes.into();
        changes.push(json!({"value": value, "field": "smb_message_echoes"}));
    }
    json!({"id": "880000000000007", "changes": changes})
}

fn value() -> Value {
    let metadata = json!({"display_phone_number": "15550100042", "phone_number_id": PHONE_NUMBER_ID});
    json!({"messaging_product": "whatsapp", "metadata": metadata})
}
