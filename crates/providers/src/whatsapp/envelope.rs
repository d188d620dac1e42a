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

/// What a body may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Entries that hold changes, as Meta sends them.
    Entries,
    /// That, or the value of one change of `messages` with nothing around it, as 360dialog passes it on.
    FlatOrEntries,
}

/// All items of a raw event.
pub(crate) fn split(source: &Source, raw_event: &RawEvent, shape: Shape) -> Vec<Item> {
    let text = Text::of(&raw_event.body);
    let ours = source.settings.get(PHONE_NUMBER_ID).and_then(Value::as_str);
    let items = || {
        let root = text.root()?;
        let body = root.object().map_err(|fault| Fault { reason: reason::NOT_JSON, ..fault })?;
        let is_flat = body.get("entry").is_none() && lists::LISTS.iter().any(|name| body.get(name).is_some());
        let expected = match shape {
            Shape::FlatOrEntries if is_flat => return Ok(of_change(&Change::flat(&root), ours)),
            Shape::FlatOrEntries => "an array (or beside it messages or statuses)",
            Shape::Entries if is_flat => "an array (this looks like 360dialog's flat body: its provider is dialog360)",
            Shape::Entries => "an array",
        };
        let entries = body.require("entry", expected)?.elements()?;
        Ok(entries.iter().flat_map(|entry| of_entry(entry, ours)).collect())
    };
    items().unwrap_or_else(|fault: Fault| vec![Err(fault.rejects_body(raw_event.body.clone()))])
}

fn of_entry(node: &Node<'_>, ours: Option<&str>) -> Vec<Item> {
    let read = || {
        let entry = node.object()?;
        let changes = entry.require("changes", "an array")?.elements()?;
        let scalar = |name| entry.get(name).and_then(|node| node.value().ok()).map(shortened).unwrap_or_default();
        Ok((changes, scalar("id"), scalar("time")))
    };
    match read() {
        Ok((changes, id, time)) => {
            let of_node = |node| match Change::read(node, &id, &time) {
                Ok(change) => of_change(&change, ours),
                Err(fault) => vec![Err(node.reject(fault))],
            };
            changes.iter().flat_map(of_node).collect()
        }
        Err(fault) => vec![Err(node.reject(fault))],
    }
}

fn of_change(change: &Change<'_>, ours: Option<&str>) -> Vec<Item> {
    match ours.map_or(Ok(()), |ours| change.must_be_about(ours)) {
        Err(fault) => lists::items(change).into_iter().map(|item| Err(astray(item, &fault))).collect(),
        Ok(()) => lists::items(change),
    }
}

impl<'t> Change<'t> {
    fn read(node: &Node<'t>, entry_id: &'t Json<'t>, entry_time: &'t Json<'t>) -> Result<Self, Fault> {
        let change = node.object()?;
        let field = change.require("field", "a string")?.text()?;
        Ok(Self { entry_id, entry_time, ..Self::of(node, &field, change.get("value")) })
    }

    /// A value that stands alone: it says neither whose it is nor when.
    fn flat(value: &Node<'t>) -> Self {
        Self::of(value, "messages", Some(value.clone()))
    }

    fn of(node: &Node<'t>, field: &str, value: Option<Node<'t>>) -> Self {
        let known = |metadata| with_short_members(metadata, &[PHONE_NUMBER_ID, DISPLAY_PHONE_NUMBER]);
        let parts = value.as_ref().and_then(|value| value.object().ok());
        let part = |name| parts.as_ref()?.get(name);
        Self {
            node: node.clone(),
            field: clean_kind(field),
            entry_id: &Json::Null,
            entry_time: &Json::Null,
            metadata: part("metadata").map(|node| (node.clone(), node.value().map(known))),
            people: People::of(part("contacts"), part("messages")),
            value,
        }
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
