//! The way down: body, entries, changes.

use std::{borrow::Cow, cell::OnceCell};

use serde_json::Value;
use vocabulary::{Item, RawEvent, Rejection, Source};

use super::{
    DISPLAY_PHONE_NUMBER, PHONE_NUMBER_ID, lists,
    people::People,
    shared::{shortened, with_short_members},
};
use crate::{
    json::{Fault, Fields, Json, Node, Object, Text},
    reason,
    single::clean_kind,
};

/// What the items of one change share.
pub(super) struct Change<'t> {
    /// The change itself.
    pub node: Node<'t>,
    /// What it is about: `messages`, `calls`, `account_update`.
    pub field: String,
    /// What it holds, which should be an object.
    pub value: Option<Result<Object<'t>, Fault>>,
    /// The business account.
    pub entry_id: &'t Json<'t>,
    /// When it happened, in seconds; only where the items do not say so themselves.
    pub entry_time: &'t Json<'t>,
    /// The business's phone number, as it names it itself; account-level changes have none.
    metadata: Option<Node<'t>>,
    /// What of it is of use, read when it is first asked for.
    known: OnceCell<Result<Json<'t>, Fault>>,
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
    let mut items = Vec::new();
    match of_body(&text, ours, shape, &mut items) {
        Ok(()) => items,
        Err(fault) => vec![Err(fault.rejects_body(raw_event.body.clone()))],
    }
}

fn of_body(text: &Text<'_>, ours: Option<&str>, shape: Shape, items: &mut Vec<Item>) -> Result<(), Fault> {
    let root = text.root()?;
    let body = root.object().map_err(|fault| Fault { reason: reason::NOT_JSON, ..fault })?;
    let is_flat = body.get("entry").is_none() && lists::LISTS.iter().any(|name| body.get(name).is_some());
    let expected = match shape {
        Shape::FlatOrEntries if is_flat => {
            of_change(&Change::flat(root), ours, items);
            return Ok(());
        }
        Shape::FlatOrEntries => "an array (or beside it messages or statuses)",
        Shape::Entries if is_flat => "an array (this looks like 360dialog's flat body: its provider is dialog360)",
        Shape::Entries => "an array",
    };
    for entry in body.require("entry", expected)?.elements()? {
        of_entry(entry, ours, items).unwrap_or_else(|fault| items.push(Err(entry.reject(fault))));
    }
    Ok(())
}

/// Nothing of an entry has become an item when it has a fault.
fn of_entry(node: Node<'_>, ours: Option<&str>, items: &mut Vec<Item>) -> Result<(), Fault> {
    let entry = node.object()?;
    let changes = entry.require("changes", "an array")?.elements()?;
    let scalar = |name| entry.get(name).and_then(|node| node.value().ok()).map(shortened).unwrap_or_default();
    let (id, time) = (scalar("id"), scalar("time"));
    for node in changes {
        match Change::read(node, &id, &time) {
            Ok(change) => of_change(&change, ours, items),
            Err(fault) => items.push(Err(node.reject(fault))),
        }
    }
    Ok(())
}

fn of_change(change: &Change<'_>, ours: Option<&str>, items: &mut Vec<Item>) {
    let first = items.len();
    lists::read(change, items);
    if let Some(fault) = ours.and_then(|ours| change.must_be_about(ours).err()) {
        for item in &mut items[first..] {
            *item = Err(astray(item, &fault));
        }
    }
}

impl<'t> Change<'t> {
    fn read(node: Node<'t>, entry_id: &'t Json<'t>, entry_time: &'t Json<'t>) -> Result<Self, Fault> {
        let change = node.object()?;
        let field = change.require("field", "a string")?.text()?;
        Ok(Self { entry_id, entry_time, ..Self::of(node, &field, change.get("value")) })
    }

    /// A value that stands alone: it says neither whose it is nor when.
    fn flat(value: Node<'t>) -> Self {
        Self::of(value, "messages", Some(value))
    }

    fn of(node: Node<'t>, field: &str, value: Option<Node<'t>>) -> Self {
        let value = value.map(Node::object);
        let part = |name| value.as_ref()?.as_ref().ok()?.get(name);
        Self {
            node,
            field: clean_kind(field),
            entry_id: &Json::Null,
            entry_time: &Json::Null,
            metadata: part("metadata"),
            known: OnceCell::new(),
            people: People::of(part("contacts"), part("messages")),
            value,
        }
    }

    /// What `metadata` says under this name.
    pub(super) fn metadata(&self, name: &str) -> Option<Cow<'_, str>> {
        self.read_metadata().ok()??.loose_text(name)
    }

    fn read_metadata(&self) -> Result<Option<Fields<'_>>, Fault> {
        let Some(node) = self.metadata else { return Ok(None) };
        let short = |metadata| with_short_members(metadata, &[PHONE_NUMBER_ID, DISPLAY_PHONE_NUMBER]);
        let known = self.known.get_or_init(|| node.value().map(short));
        Fields::of(known.as_ref().map_err(Clone::clone)?, node.path()).map(Some)
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
fn astray(item: &Item, fault: &Fault) -> Rejection {
    item.as_ref().map_or_else(Clone::clone, |event| fault.clone().rejects_item(event.raw.clone()))
}
