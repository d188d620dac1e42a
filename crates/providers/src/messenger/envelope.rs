//! The way down: body, entries, lists.

use vocabulary::{Event, Item, RawEvent};

use super::item;
use crate::{
    json::{Fault, Fields, Node, Text},
    meta, reason,
    single::sha256,
};

/// The lists that must be lists where they are there. Others are taken as they come.
const LISTS: [&str; 3] = ["changes", "messaging", "standby"];

/// All items of a raw event that is about such an object.
pub(super) fn split(object: &str, raw_event: &RawEvent) -> Vec<Item> {
    let text = Text::of(&raw_event.body);
    let entries = || {
        let body = text.root()?.object().map_err(|fault| Fault { reason: reason::NOT_JSON, ..fault })?;
        let about = body.require("object", "a string")?.text()?;
        if about != object {
            let what = format_args!("{about:?} is not {object:?}, which a source of this provider takes");
            return Err(Fault::at("object", reason::WRONG_TYPE, what));
        }
        body.require("entry", "an array")?.elements()
    };
    match entries() {
        Ok(entries) => entries.flat_map(of_entry).collect(),
        Err(fault) => vec![Err(fault.rejects_body(raw_event.body.clone()))],
    }
}

/// An entry that holds no list may be a change itself (business login for Instagram).
fn of_entry(node: Node<'_>) -> Vec<Item> {
    let read = || {
        let entry = node.object()?;
        // Every item takes a copy of it, so it must be short, whoever wrote it.
        let account = entry.get("id").map(|id| sha256(id.raw())).unwrap_or_default();
        let is_list = |(name, list): &(&str, Node<'_>)| LISTS.contains(name) || list.is_array();
        let lists = entry.members(|_| true).filter(is_list).collect::<Vec<_>>();
        match entry.get("field") {
            None if lists.is_empty() => {
                entry.require("messaging", "an array (or standby, or changes)").map(|_| Vec::new())
            }
            Some(_) if lists.is_empty() => Ok(vec![change(&account, node)]),
            _ => Ok(lists.into_iter().flat_map(|(name, list)| of_list(&account, name, list)).collect()),
        }
    };
    read().unwrap_or_else(|fault: Fault| vec![Err(node.reject(fault))])
}

fn of_list(account: &str, name: &str, list: Node<'_>) -> Vec<Item> {
    let messaging = |node: Node<'_>| item::read(account, &node.value()?, node.path(), node.raw());
    let notice = |node: Node<'_>| item::notice(account, name, &node.value()?, node.path(), node.raw());
    let rejected = |node: Node<'_>, event: Result<Event, Fault>| event.map_err(|fault| node.reject(fault));
    let read = |node: Node<'_>| match name {
        "messaging" => rejected(node, messaging(node)),
        "standby" => rejected(node, messaging(node)).and_then(meta::standby),
        "changes" => change(account, node),
        _ => rejected(node, notice(node)),
    };
    match list.elements() {
        Ok(nodes) => nodes.map(read).collect(),
        Err(fault) => vec![Err(list.reject(fault))],
    }
}

/// What stands in lists of its own is also sent as a change: its value is then the item.
fn change(account: &str, node: Node<'_>) -> Item {
    let read = || {
        let value = node.value()?;
        let change = Fields::of(&value, node.path())?;
        let field = change.required_text("field")?;
        let said = change.get("value").filter(|said| said.get("sender").is_some() && said.get("recipient").is_some());
        let event = match said {
            Some(said) => item::read(account, said, node.path().join("value"), node.raw())?,
            None => item::notice(account, field, &value, node.path(), node.raw())?,
        };
        Ok((event, field == "standby"))
    };
    match read() {
        Ok((event, true)) => meta::standby(event),
        Ok((event, false)) => Ok(event),
        Err(fault) => Err(node.reject(fault)),
    }
}
