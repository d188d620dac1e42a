//! What lies in a change: lists of items, or the change is itself the item.

use vocabulary::{Event, Item};

use super::{
    envelope::Change,
    history,
    message::{self, Manner},
    notice, status,
};
use crate::{
    json::{Fault, Node},
    meta,
};

/// The lists that we know, in the order in which they are read.
pub(super) const LISTS: [&str; 8] =
    ["messages", "statuses", "errors", "user_actions", "message_echoes", "calls", "automatic_events", "history"];

/// Lists that only describe the items beside them.
const DESCRIPTIONS: [&str; 1] = ["contacts"];

/// All items of a change. One that has none in it is an item itself, so that nothing is lost.
pub(super) fn items(change: &Change<'_>) -> Vec<Item> {
    let items = match change.field.as_str() {
        "messages" | "smb_message_echoes" | "calls" | "automatic_events" | "history" => of_value(change),
        "standby" => of_value(change).into_iter().map(|item| item.and_then(meta::standby)).collect(),
        _ => Vec::new(),
    };
    if items.is_empty() { vec![item(&change.node, notice::notice(change, &change.field, &change.node))] } else { items }
}

fn of_value(change: &Change<'_>) -> Vec<Item> {
    let lists = match lists(change) {
        Ok(lists) => lists,
        Err(fault) => return vec![Err(change.node.reject(fault))],
    };
    let of_list = |(name, list): (String, Node<'_>)| match list.elements() {
        Ok(nodes) => nodes.iter().flat_map(|node| read(change, &name, node)).collect(),
        Err(fault) => vec![Err(list.reject(fault))],
    };
    lists.into_iter().flat_map(of_list).collect()
}

/// The lists of a value: first those that we know, whatever they are, then those that are lists at least.
fn lists<'t>(change: &Change<'t>) -> Result<Vec<(String, Node<'t>)>, Fault> {
    let path = change.node.path().join("value");
    let value = change.value.as_ref().ok_or_else(|| Fault::wrong_type(&path, "an object", "nothing"))?.object()?;
    let known = LISTS.into_iter().filter_map(|name| Some((name.to_owned(), value.get(name)?)));
    let is_unknown = |name: &&str| !LISTS.contains(name) && !DESCRIPTIONS.contains(name);
    let unknown = value.members().filter(|(name, node)| is_unknown(name) && node.is_array());
    Ok(known.chain(unknown.map(|(name, node)| (name.to_owned(), node))).collect())
}

fn read(change: &Change<'_>, list: &str, node: &Node<'_>) -> Vec<Item> {
    let event = match list {
        "messages" if change.field == "history" => message::read(change, node, &Manner::RecalledMedia),
        "messages" => message::read(change, node, &Manner::Received),
        "message_echoes" => message::read(change, node, &Manner::Echoed),
        "statuses" => status::read(change, node),
        "calls" => notice::call(node),
        "automatic_events" => notice::automatic_event(node),
        "history" => return history::items(change, node),
        // Errors, user actions, lists of tomorrow: told by the name of the field that a customer of Meta subscribes to.
        _ => notice::notice(change, &change.field, node),
    };
    vec![item(node, event)]
}

pub(super) fn item(node: &Node<'_>, event: Result<Event, Fault>) -> Item {
    event.map_err(|fault| node.reject(fault))
}
