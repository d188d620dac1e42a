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
pub(super) fn read(change: &Change<'_>, items: &mut Vec<Item>) {
    let first = items.len();
    let has_lists = ["messages", "smb_message_echoes", "calls", "automatic_events", "history", "standby"];
    if has_lists.contains(&change.field.as_str()) {
        of_value(change, items).unwrap_or_else(|fault| items.push(Err(change.node.reject(fault))));
    }
    if change.field == "standby" {
        let told = items.split_off(first);
        items.extend(told.into_iter().map(|item| item.and_then(meta::standby)));
    }
    if items.len() == first {
        items.push(item(change.node, notice::notice(change, &change.field, change.node)));
    }
}

/// The lists of a value: first those that we know, whatever they are, then those that are lists at least.
fn of_value(change: &Change<'_>, items: &mut Vec<Item>) -> Result<(), Fault> {
    let missing = || Fault::wrong_type(change.node.path().join("value"), "an object", "nothing");
    let value = change.value.as_ref().ok_or_else(missing)?.as_ref().map_err(Clone::clone)?;
    let known = LISTS.into_iter().filter_map(|name| Some((name, value.get(name)?)));
    let unknown = value.members(|name| !LISTS.contains(&name) && !DESCRIPTIONS.contains(&name));
    for (name, list) in known.chain(unknown.filter(|(_, node)| node.is_array())) {
        match list.elements() {
            Ok(nodes) => nodes.for_each(|node| read_item(change, name, node, items)),
            Err(fault) => items.push(Err(list.reject(fault))),
        }
    }
    Ok(())
}

fn read_item(change: &Change<'_>, list: &str, node: Node<'_>, items: &mut Vec<Item>) {
    let event = match list {
        "messages" if change.field == "history" => message::read(change, node, &Manner::RecalledMedia),
        "messages" => message::read(change, node, &Manner::Received),
        "message_echoes" => message::read(change, node, &Manner::Echoed),
        "statuses" => status::read(change, node),
        "calls" => notice::call(node),
        "automatic_events" => notice::automatic_event(node),
        "history" => return history::read(change, node, items),
        // Errors, user actions, lists of tomorrow: told by the name of the field that a customer of Meta subscribes to.
        _ => notice::notice(change, &change.field, node),
    };
    items.push(item(node, event));
}

pub(super) fn item(node: Node<'_>, event: Result<Event, Fault>) -> Item {
    event.map_err(|fault| node.reject(fault))
}
