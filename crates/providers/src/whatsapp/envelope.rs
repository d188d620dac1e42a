//! The way down: body, entries, changes.

use serde_json::Value;
use vocabulary::{Item, RawEvent, Rejection, Source};

use super::{
    DISPLAY_PHONE_NUMBER, PHONE_NUMBER_ID, lists,
    people::People,
    shared::{shortened, with_short_members},
};
use crate::{
    json::{Fault, Fields, Json, Node, Text},
    reason,
    single::clean_kind,
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
    pub entry_id: &'t Json<'t>,
    /// When it happened, in seconds; only where the items do not say so themselves.
    pub entry_time: &'t Json<'t>,
    /// The business's phone number, as it names it itself; account-level changes have none.
    metadata: Option<(Node<'t>, Result<Json<'t>, Fault>)>,
    /// Whom the items are from.
    pub people: People<'t>,
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
        let scalar = |name| entry.get(name).and_then(|node| node.value().ok()).map(shortened).unwrap_or_default();
        Ok((changes, scalar("id"), scalar("time")))
    };
    match read() {
        Ok((changes, id, time)) => changes.iter().flat_map(|change| of_change(change, &id, &time, ours)).collect(),
        Err(fault) => vec![Err(node.reject(fault))],
    }
}

fn of_change(node: &Node<'_>, entry_id: &Json<'_>, entry_time: &Json<'_>, ours: Option<&str>) -> Vec<Item> {
    match Change::read(node, entry_id, entry_time) {
        Ok(change) => match ours.map_or(Ok(()), |ours| change.must_be_about(ours)) {
            Err(fault) => lists::items(&change).into_iter().map(|item| Err(astray(item, &fault))).collect(),
            Ok(()) => lists::items(&change),
        },
        Err(fault) => vec![Err(node.reject(fault))],
    }
}

impl<'t> Change<'t> {
    fn read(node: &Node<'t>, entry_id: &'t Json<'t>, entry_time: &'t Json<'t>) -> Result<Self, Fault> {
        let change = node.object()?;
        let field = change.require("field", "a string")?.text()?;
        let value = change.get("value");
        let known = |metadata| with_short_members(metadata, &[PHONE_NUMBER_ID, DISPLAY_PHONE_NUMBER]);
        let parts = value.as_ref().and_then(|value| value.object().ok());
        let part = |name| parts.as_ref()?.get(name);
        Ok(Self {
            node: node.clone(),
            field: clean_kind(&field),
            entry_id,
            entry_time,
            metadata: part("metadata").map(|node| (node.clone(), node.value().map(known))),
            people: People::of(part("contacts"), part("messages")),
            value,
        })
    }

    /// What `metadata` says under this name.
    pub(super) fn metadata(&self, name: &str) -> Option<String> {
        self.read_metadata().ok()??.loose_text(name)
    }

    fn read_metadata(&self) -> Result<Option<Fields<'_>>, Fault> {
        let Some((node, value)) = &self.metadata else { return Ok(None) };
        let value = value.as_ref().map_err(Clone::clone)?;
        Fields::of(value, node.path()).map(Some)
    }

    /// Whether the source's number is meant, or none in particular. Where that cannot be read, it may be another's.
    fn must_be_about(&self, ours: &str) -> Result<(), Fault> {
        let Some(metadata) = self.read_metadata()? else { return Ok(()) };
        match metadata.text_or_number(PHONE_NUMBER_ID)? {
            Some(theirs) if theirs != ours => {
                let what = format_args!("{theirs:?} is not the source's");
                Err(metadata.fault(PHONE_NUMBER_ID, reason::ANOTHER_PHONE_NUMBER, what))
            }
            _ => Ok(()),
        }
    }
}

/// An item that was sent to the wrong source. Rejected one by one, so that each has the same place in its raw event when
/// it is replayed after the source was put right.
fn astray(item: Item, fault: &Fault) -> Rejection {
    item.map_or_else(|rejection| rejection, |event| fault.clone().rejects_item(event.raw))
}
