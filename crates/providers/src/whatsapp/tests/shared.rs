//! What stands beside many items is paid for once. Where that is not so, these bodies take memory or time by the number of
//! their items times its length.

use super::*;
use crate::properties;

const MANY: usize = 20_000;

fn long() -> String {
    "5".repeat(1_500_000)
}

fn many(item: &Value) -> Value {
    vec![item.clone(); MANY].into()
}

fn by(author: &str) -> Value {
    json!({"id": "w", "from": author, "type": "text"})
}

/// As many items as were sent, none of which holds what all of them were to share.
fn split_cheaply(body: String) -> Vec<Item> {
    assert!(body.len() <= Provider::WhatsApp.body_limit());
    let items = properties::split(body);
    assert!(items.len() >= MANY);
    items
}

#[test]
fn a_name_of_a_megabyte_is_given_to_none_of_its_messages() {
    let value = json!({"contacts": [{"wa_id": "2", "profile": {"name": long()}}], "messages": many(&by("2"))});

    let items = split_cheaply(request("messages", &value));

    assert_eq!(new_message(items[0].as_ref().unwrap()).sender.as_ref().unwrap().name, None);
}

/// Nor does a contact without a readable id stand for whoever wrote.
#[test]
fn an_id_of_a_megabyte_is_compared_with_none_of_its_messages() {
    let value =
        json!({"contacts": [{"wa_id": long(), "profile": {"name": "Ines"}}], "messages": many(&by("55555555"))});

    let items = split_cheaply(request("messages", &value));

    assert_eq!(new_message(items[0].as_ref().unwrap()).sender.as_ref().unwrap().name, None);
}

#[test]
fn a_list_with_a_name_of_a_megabyte_is_split_into_its_items() {
    split_cheaply(request("messages", &json!({long(): many(&json!({}))})));
}

/// What is wrong with each of them is said together with where it is.
#[test]
fn a_list_with_a_name_of_a_megabyte_is_named_in_what_is_wrong_with_each_of_its_items() {
    let body = request("messages", &json!({"name": many(&json!("bad"))}));

    let items = split_cheaply(body.replace("name", &r"\u00e9".repeat(250_000)).replace(r#""bad""#, "1e999"));

    let shown = "é".repeat(64);
    let expected = format!("entry[0].changes[0].value.{shown}[1]: number out of range");
    assert_eq!(items[1].as_ref().unwrap_err().detail, expected);
}

#[test]
fn an_account_with_an_id_of_a_megabyte_is_told_from_others_all_the_same() {
    let of_account =
        |id: &str| json!({"entry": [{"id": id, "changes": many(&json!({"field": "account_update"}))}]}).to_string();

    let (one, other) = (split_cheaply(of_account(&long())), split_cheaply(of_account(&(long() + "6"))));

    let key = |items: &[Item]| items[0].as_ref().unwrap().key.clone();
    assert_ne!(key(&one), key(&other));
}

#[test]
fn a_phone_number_with_an_id_of_a_megabyte_is_named_in_no_item() {
    split_cheaply(request("messages", &json!({"metadata": {"phone_number_id": long()}, "errors": many(&json!({}))})));
}

#[test]
fn a_thread_with_an_id_of_a_megabyte_is_said_with_none_of_its_messages() {
    let threads = json!([{"id": long(), "context": {"wa_id": "2"}, "messages": many(&by("2"))}]);

    let items = split_cheaply(request("history", &json!({"history": [{"threads": threads}]})));

    let details = new_message(items[0].as_ref().unwrap()).details.clone();
    assert_eq!(details, Some(json!({"thread": {"context": {"wa_id": "2"}}})));
}

#[test]
fn a_display_number_of_a_megabyte_is_read_once() {
    let value =
        json!({"metadata": {"display_phone_number": long()}, "history": [{"threads": [{"messages": many(&by("2"))}]}]});

    split_cheaply(request("history", &value));
}

#[test]
fn the_members_of_a_metadata_are_looked_at_once_however_many_they_are() {
    let metadata: Value = (0..100_000).map(|number| (number.to_string(), json!(1))).collect();

    split_cheaply(request("messages", &json!({"metadata": metadata, "errors": many(&json!({}))})));
}

#[test]
fn a_value_with_very_many_lists_is_searched_once() {
    let lists: Value = (0..MANY).map(|number| (number.to_string(), json!([{}]))).collect();

    split_cheaply(request("messages", &lists));
}
