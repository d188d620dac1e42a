//! What is true of every body, however it was damaged.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// Damages a body: overwrites, cuts out, or doubles a few bytes, or puts something odd in between.
#[derive(Debug, Clone)]
enum Damage {
    Overwrite(Index, u8),
    CutOut(Index, usize),
    Double(Index, usize),
    PutIn(Index, &'static str),
}

const ODD: &[&str] =
    &["null", "{", "}", "[", "]", ",", ":", "\"", "\\", "\\ud83d", "\\u0000", "1e999", "-1", "{\"id\":1}", "[[[[", "é"];

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Overwrite(at, byte)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, len)| Damage::CutOut(at, len)),
        (any::<Index>(), 1..400_usize).prop_map(|(at, len)| Damage::Double(at, len)),
        (any::<Index>(), prop::sample::select(ODD)).prop_map(|(at, odd)| Damage::PutIn(at, odd)),
    ]
}

fn damaged(mut body: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if body.is_empty() {
            break;
        }
        let range = |at: &Index, len: usize| at.index(body.len())..(at.index(body.len()) + len).min(body.len());
        match damage {
            Damage::Overwrite(at, byte) => {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            Damage::CutOut(at, len) => {
                let range = range(at, *len);
                body.drain(range);
            }
            Damage::Double(at, len) => {
                let range = range(at, *len);
                let copy = body[range.clone()].to_vec();
                body.splice(range.start..range.start, copy);
            }
            Damage::PutIn(at, odd) => {
                let at = at.index(body.len());
                body.splice(at..at, odd.bytes());
            }
        }
    }
    body
}

fn any_fixture() -> impl Strategy<Value = &'static [u8]> {
    prop::sample::select(FIXTURES).prop_map(|(_, body)| body)
}

fn raw(item: &Item) -> &Bytes {
    match item {
        Ok(event) => &event.raw,
        Err(rejection) => &rejection.raw,
    }
}

/// Any JSON at all, with the names that the reader looks for.
fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(&[
        "id",
        "type",
        "text",
        "body",
        "image",
        "caption",
        "contacts",
        "interactive",
        "nfm_reply",
        "response_json",
        "status",
        "timestamp",
        "from",
        "reaction",
        "message_id",
        "edit",
        "message",
        "original_message_id",
        "threads",
        "messages",
        "metadata",
        "phone_number_id",
        "profile",
        "name",
        "wa_id",
        "event",
        "event_name",
    ]);
    let words = prop::sample::select(&[
        "",
        "text",
        "image",
        "contacts",
        "interactive",
        "order",
        "reaction",
        "edit",
        "revoke",
        "system",
        "call",
        "wamid.1",
        "read",
        "1771000000",
        "99999999999999999999",
        "\0",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let names = names.clone().prop_map(str::to_owned);
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((names, inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_damaged_body_never_panics_and_every_item_is_a_slice_of_it(
        fixture in any_fixture(),
        damages in vec(damage(), 1..6),
    ) {
        let body = Bytes::from(damaged(fixture.to_vec(), &damages));

        let items = split(body.clone());

        for item in &items {
            let (inner, outer) = (raw(item).as_ptr_range(), body.as_ptr_range());
            prop_assert!(raw(item).is_empty() || (outer.start <= inner.start && inner.end <= outer.end));
        }
        prop_assert_eq!(items, split(body));
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
