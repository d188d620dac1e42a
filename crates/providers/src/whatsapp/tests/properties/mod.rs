//! What is true of every body, however odd: [`crate::properties::split`] says what, the files here say how odd.

mod any_json;
mod damage;
mod door;
mod odd;

use proptest::{collection::vec, prelude::*, sample::Index};

use self::{
    any_json::any_json,
    damage::{damage, damaged},
    odd::{mutated, mutation, places},
};
use super::*;
use crate::properties;

/// What the fixtures have none of: a history, and a list of tomorrow.
const HISTORY: &[u8] = br#"{"entry": [{"id": "1", "time": 1771000000, "changes": [
    {"field": "history", "value": {"metadata": {"display_phone_number": "15550100042", "phone_number_id": "42"},
        "contacts": [{"wa_id": "2", "profile": {"name": "Ines"}}],
        "history": [{"metadata": {"phase": 0}, "threads": [
            {"id": "15550101234", "context": {"wa_id": "2"}, "messages": [{"id": "w", "from": "2", "type": "text"}]}]}]}},
    {"field": "messages", "value": {"list_of_tomorrow": [{"a": 1}], "errors": [{"code": 1}]}}]}]}"#;

fn any_fixture() -> impl Strategy<Value = &'static [u8]> {
    let fixtures = FIXTURES.iter().map(|(_, body)| *body).chain([HISTORY]);
    prop::sample::select(fixtures.collect::<Vec<_>>())
}

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

/// A body in which one list has a hundred times its elements, and one part beside that list, or its name, is long.
fn inflated(mut body: Value, list: &Index, part: &Index, name_instead: bool) -> Option<String> {
    let places = places(&body);
    let (lists, parts): (Vec<_>, Vec<_>) =
        places.iter().partition(|place| body.pointer(place).is_some_and(Value::is_array));
    let list = list.get(&lists).as_str();
    if name_instead {
        let (parent, name) = list.rsplit_once('/')?;
        let members = body.pointer_mut(parent)?.as_object_mut()?;
        let elements = members.remove(name)?;
        members.insert("x".repeat(60_000), Value::from(hundredfold(elements.as_array()?)));
        return Some(body.to_string());
    }
    let part = part.get(&parts).as_str();
    if part.starts_with(list) || list.starts_with(part) {
        return None;
    }
    *body.pointer_mut(part)? = "5".repeat(60_000).into();
    let elements = body.pointer_mut(list)?.as_array_mut()?;
    *elements = hundredfold(elements);
    Some(body.to_string())
}

fn hundredfold(elements: &[Value]) -> Vec<Value> {
    std::iter::repeat_n(elements, 100).flatten().cloned().collect()
}

fn few() -> ProptestConfig {
    ProptestConfig::with_cases(128)
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn a_damaged_body_is_split_without_loss(fixture in any_fixture(), damages in vec(damage(), 1..6)) {
        properties::split(damaged(fixture.to_vec(), &damages));
    }

    #[test]
    fn any_bytes_are_split_without_loss(body in vec(any::<u8>(), 0..200)) {
        properties::split(body);
    }

    #[test]
    fn a_body_with_odd_parts_is_split_without_loss(fixture in any_fixture(), odd in vec(mutation(), 1..4)) {
        properties::split(mutated(parsed(fixture), &odd));
    }

    #[test]
    fn what_is_kept_of_an_item_does_not_grow_with_what_stands_beside_it(
        fixture in any_fixture(),
        (list, part) in any::<(Index, Index)>(),
        name_instead in prop::bool::weighted(0.1),
    ) {
        if let Some(body) = inflated(parsed(fixture), &list, &part, name_instead) {
            properties::split(body);
        }
    }

    #[test]
    fn an_item_however_odd_leaves_the_keys_and_the_bytes_of_its_mates_alone(
        which in 0..3_usize,
        odd in vec(mutation(), 1..4),
    ) {
        let text = |id: &str| with(message("text", json!({"body": "hi"})), "id", json!(id));
        let mates = ["wamid.0", "wamid.1", "wamid.2"].map(|id| text(id).to_string());
        let mut texts = mates.clone();
        texts[which] = mutated(text("wamid.odd"), &odd);
        let body = request("messages", &value("messages", json!("MESSAGES")));

        let items = properties::split(body.replace("\"MESSAGES\"", &format!("[{}]", texts.join(","))));

        prop_assert_eq!(items.len(), 3);
        for (place, mate) in (0..3).filter(|place| *place != which).map(|place| (place, &mates[place])) {
            let event = items[place].as_ref().unwrap();
            prop_assert_eq!(event.key.as_str(), format!("wamid.{place}"));
            prop_assert_eq!(&event.raw[..], mate.as_bytes());
        }
    }

    #[test]
    fn the_items_of_a_change_are_the_same_whatever_stands_beside_it(
        fixture in any_fixture(),
        beside in any_json(),
        field in prop::sample::select(&["messages", "smb_message_echoes", "calls", "history", "standby", "automatic_events", "new"]),
        list in prop::sample::select(&["messages", "message_echoes", "statuses", "errors", "calls", "history", "automatic_events"]),
    ) {
        let whole: Value = serde_json::from_slice(fixture).unwrap();
        let Some(entries) = whole["entry"].as_array() else { return Ok(()) };
        let odd = json!({"id": "1", "changes": [{"field": field, "value": {list: beside.clone()}}, beside]});
        let expected: Vec<_> = split(whole.to_string());

        let odd = [odd];
        let mixed = [&odd, &entries[..], &odd].concat();
        let items = split(json!({"entry": mixed}).to_string());

        let (count, odd_count) = (expected.len(), (items.len() - expected.len()) / 2);
        prop_assert!(odd_count >= 2, "nothing is lost without a word");
        prop_assert_eq!(&items[odd_count..odd_count + count], &expected[..]);
    }
}
