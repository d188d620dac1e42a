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
pub(super) fn items(change: &Change<'_>, chunk: &Node<'_>) -> Vec<Item> {
    let mut items = match member(chunk, "threads") {
        Ok(Some(threads)) => each(&threads, |thread| of_thread(change, thread)),
        Ok(None) => Vec::new(),
        Err(fault) => return vec![Err(chunk.reject(fault))],
    };
    items.push(arrival(change, chunk));
    items
}

fn of_thread(change: &Change<'_>, thread: &Node<'_>) -> Vec<Item> {
    match member(thread, "messages") {
        Ok(messages) => {
            let about = about(thread);
            let read = |node: &Node<'_>| {
                vec![item(node, message::read(change, node, &Manner::Recalled { thread: about.as_ref() }))]
            };
            messages.map_or_else(Vec::new, |messages| each(&messages, read))
        }
        Err(fault) => vec![Err(thread.reject(fault))],
    }
}

fn each(list: &Node<'_>, items: impl Fn(&Node<'_>) -> Vec<Item>) -> Vec<Item> {
    match list.elements() {
        Ok(nodes) => nodes.iter().flat_map(items).collect(),
        Err(fault) => vec![Err(list.reject(fault))],
    }
}

/// With whom the thread was. What is too long to be said with each of its messages is left out.
fn about(thread: &Node<'_>) -> Option<Value> {
    let thread = thread.object().ok()?;
    let part =
        |name: &str| Some((name.to_owned(), Value::from(&thread.get(name)?.value().ok().filter(is_short_json)?)));
    let parts: serde_json::Map<_, _> = ["id", "context"].into_iter().filter_map(part).collect();
    (!parts.is_empty()).then_some(Value::Object(parts))
}

/// Known by all of the chunk.
fn arrival(change: &Change<'_>, chunk: &Node<'_>) -> Item {
    match notice::notice(change, "history", chunk) {
        Ok(event) => Ok(Event { raw: besides(chunk), ..event }),
        Err(fault) => Err(fault.rejects_item(besides(chunk))),
    }
}

/// What a chunk says beside its messages, which are items of their own, and may be megabytes.
fn besides(chunk: &Node<'_>) -> Bytes {
    match member(chunk, "threads") {
        Ok(Some(_)) => member(chunk, "metadata").ok().flatten().map_or_else(Bytes::new, |metadata| metadata.raw()),
        _ => chunk.raw(),
    }
}

fn member<'t>(node: &Node<'t>, name: &str) -> Result<Option<Node<'t>>, Fault> {
    Ok(node.object()?.get(name))
}
