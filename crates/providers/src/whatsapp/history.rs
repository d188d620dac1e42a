//! What was said before latchhook was there: a business that joins with its phone may share up to 180 days of it.

use bytes::Bytes;
use serde_json::Value;
use vocabulary::{Event, Item};

use super::{
    envelope::Change,
    lists::item,
    message::{self, Manner},
    notice,
    shared::is_short_json,
};
use crate::json::{Fault, Node};

/// The items of one chunk: each message, quietly, and one notice that the chunk has come.
pub(super) fn read(change: &Change<'_>, chunk: Node<'_>, items: &mut Vec<Item>) {
    match member(chunk, "threads") {
        Ok(threads) => {
            each(threads, items, |thread, items| of_thread(change, thread, items));
            items.push(arrival(change, chunk));
        }
        Err(fault) => items.push(Err(chunk.reject(fault))),
    }
}

fn of_thread(change: &Change<'_>, thread: Node<'_>, items: &mut Vec<Item>) {
    match member(thread, "messages") {
        Ok(messages) => {
            let about = about(thread);
            let manner = Manner::Recalled { thread: about.as_ref() };
            each(messages, items, |node, items| items.push(item(node, message::read(change, node, &manner))));
        }
        Err(fault) => items.push(Err(thread.reject(fault))),
    }
}

fn each(list: Option<Node<'_>>, items: &mut Vec<Item>, read: impl Fn(Node<'_>, &mut Vec<Item>)) {
    let Some(list) = list else { return };
    match list.elements() {
        Ok(nodes) => nodes.for_each(|node| read(node, items)),
        Err(fault) => items.push(Err(list.reject(fault))),
    }
}

/// With whom the thread was. What is too long to be said with each of its messages is left out.
fn about(thread: Node<'_>) -> Option<Value> {
    let thread = thread.object().ok()?;
    let part =
        |name: &str| Some((name.to_owned(), Value::from(&thread.get(name)?.value().ok().filter(is_short_json)?)));
    let parts: serde_json::Map<_, _> = ["id", "context"].into_iter().filter_map(part).collect();
    (!parts.is_empty()).then_some(Value::Object(parts))
}

/// Known by all of the chunk.
fn arrival(change: &Change<'_>, chunk: Node<'_>) -> Item {
    match notice::notice(change, "history", chunk) {
        Ok(event) => Ok(Event { raw: besides(chunk), raw_is_json: false, ..event }),
        Err(fault) => Err(fault.rejects_item(besides(chunk))),
    }
}

/// What a chunk says beside its messages, which are items of their own, and may be megabytes.
fn besides(chunk: Node<'_>) -> Bytes {
    match member(chunk, "threads") {
        Ok(Some(_)) => member(chunk, "metadata").ok().flatten().map_or_else(Bytes::new, |metadata| metadata.raw()),
        _ => chunk.raw(),
    }
}

fn member<'t>(node: Node<'t>, name: &str) -> Result<Option<Node<'t>>, Fault> {
    Ok(node.object()?.get(name))
}
