//! JSON that nobody sends.

use proptest::{collection::vec, prelude::*};
use serde_json::Value;

/// Any JSON at all, with the names that the reader looks for.
pub(super) fn any_json() -> impl Strategy<Value = Value> {
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
