//! The way down: body, entries, changes.

use bytes::Bytes;
use serde_json::Value;
use vocabulary::{Item, RawEvent, Rejection, Source};

use super::{PHONE_NUMBER_ID, lists, notice::clean_kind, people::People};
use crate::{
    json::{Fault, Fields, Node, Text, loose_text},
    reason,
};

/// What the items of one change share.
pub(super) struct Change<'t> {
    /// The change itself.
    pub node: Node<'t>,
    /// What it is about: `messages`, `calls`, `account_update`.
    pub field: String,
    /// What it holds.
    pub value: Option<Node<'t>>,
    /// The business account.
    pub entry_id: Value,
    /// When it happened, in seconds; only where the items do not say so themselves.
    pub entry_time: Value,
    /// The business's phone number, as it names it itself.
    pub metadata: Value,
    /// Whether it names itself in a way that we cannot read.
    has_odd_metadata: bool,
    /// Whom the items are from.
    pub people: People,
}

/// All items of a raw event.
pub(crate) fn split(source: &Source, raw_event: &RawEvent) -> Vec<Item> {
    let text = Text::of(&raw_event.body);
    let ours = source.settings.get(PHONE_NUMBER_ID).and_then(Value::as_str);
    match entries(&text) {
        Ok(entries) => entries.iter().flat_map(|entry| of_entry(entry, ours)).collect(),
        Err(fault) => vec![Err(fault.rejects_body(raw_event.body.clone()))],
    }
}

fn entries<'t>(text: &'t Text<'t>) -> Result<Vec<Node<'t>>, Fault> {
    let body = text.root()?.object().map_err(|fault| Fault { reason: reason::NOT_JSON, ..fault })?;
    let is_flat = body.get("messages").or_else(|| body.get("statuses")).is_some();
    let expected = if is_flat {
        "an array (this looks like 360dialog's flat body, which is another provider's)"
    } else {
        "an array"
    };
    body.require("entry", expected)?.elements()
}

fn of_entry(node: &Node<'_>, ours: Option<&str>) -> Vec<Item> {
    let read = || {
        let entry = node.object()?;
        let changes = entry.require("changes", "an array")?.elements()?;
        let scalar = |name| entry.get(name).and_then(|node| node.value().ok()).unwrap_or_default();
        Ok((changes, scalar("id"), scalar("time")))
    };
    match read() {
        Ok((changes, id, time)) => changes.iter().flat_map(|change| of_change(change, &id, &time, ours)).collect(),
        Err(fault) => vec![Err(node.reject(fault))],
    }
}

fn of_change(node: &Node<'_>, entry_id: &Value, entry_time: &Value, ours: Option<&str>) -> Vec<Item> {
    match Change::read(node, entry_id, entry_time) {
        Ok(change) => match change.number_other_than(ours) {
            Some(other) => lists::items(&change).into_iter().map(|item| Err(astray(item, &other))).collect(),
            None => lists::items(&change),
        },
        Err(fault) => vec![Err(node.reject(fault))],
    }
}

impl<'t> Change<'t> {
    fn read(node: &Node<'t>, entry_id: &Value, entry_time: &Value) -> Result<Self, Fault> {
        let change = node.object()?;
        let field = change.require("field", "a string")?.text()?;
        let value = change.get("value");
        let member = |name| value.as_ref()?.object().ok()?.get(name)?.value().ok();
        Ok(Self {
            node: node.clone(),
            field: clean_kind(&field),
            entry_id: entry_id.clone(),
            entry_time: entry_time.clone(),
            has_odd_metadata: has_odd_metadata(value.as_ref()),
            metadata: member("metadata").unwrap_or_default(),
            people: People::of(&member("contacts").unwrap_or_default()),
            value,
        })
    }

    /// What `metadata` says under this name; account-level changes have none.
    pub(super) fn metadata(&self, name: &str) -> Option<String> {
        Fields::of(&self.metadata, "").ok()?.loose_text(name)
    }

    /// The number that a change is for, if it is not ours. What names one that we cannot read is not taken for ours.
    fn number_other_than(&self, ours: Option<&str>) -> Option<String> {
        let ours = ours?;
        match self.metadata(PHONE_NUMBER_ID) {
            Some(theirs) => (theirs != ours).then_some(theirs),
            None => self.has_odd_metadata.then(|| "a number that cannot be read".to_owned()),
        }
    }
}

/// Whether there is metadata that does not say in so many words which number it is of.
fn has_odd_metadata(value: Option<&Node<'_>>) -> bool {
    let metadata = value.and_then(|value| value.object().ok()?.get("metadata"));
    metadata.is_some_and(|metadata| match metadata.value() {
        Ok(Value::Null) => false,
        Ok(Value::Object(says)) => {
            says.get(PHONE_NUMBER_ID).is_some_and(|id| !id.is_null() && loose_text(id).is_none())
        }
        _ => true,
    })
}

/// An item that was sent to the wrong source. Rejected one by one, so that each has the same place in its raw event when
/// it is replayed after the source was put right.
fn astray(item: Item, number: &str) -> Rejection {
    let rejected = |raw: Bytes| Rejection {
        reason: reason::ANOTHER_PHONE_NUMBER,
        detail: format!("metadata.{PHONE_NUMBER_ID}: {number:?} is not the source's"),
        raw,
        whole: false,
    };
    item.map_or_else(|rejection| rejection, |event| rejected(event.raw))
}
