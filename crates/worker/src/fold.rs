//! What the events of one transaction do to messages: every message that may be there is read once, joined in memory, and
//! written once.

use std::borrow::Cow;

use database::{
    AsyncPgConnection, QueryResult,
    changes_awaiting::{self, Awaiting},
    messages::{self, MessageRow},
};
use futures::{join, try_join};
use uuid::Uuid;
use vocabulary::{Change, Changed, Direction, Effect, Event, Message, NewMessage, StatusUpdate};

use crate::news::{Fresh, root_cause};

/// The messages that the events at hand are about, as they stand.
#[derive(Default)]
pub(crate) struct Fold<'a> {
    /// Sorted.
    names: Vec<Name<'a>>,
    /// In the order of the names.
    messages: Vec<Folding<'a>>,
}

/// Source, external id.
type Name<'a> = (&'a str, &'a str);

/// A message in the making.
#[derive(Default, Clone)]
struct Folding<'a> {
    row: Option<MessageRow<'a>>,
    is_touched: bool,
    /// Whether it was not there.
    is_new: bool,
    /// What was said of it before it came.
    awaiting: Vec<Awaiting>,
}

/// What an event did, and so what it is called.
pub(crate) struct Folded {
    /// The name of its webhook.
    pub event_type: Cow<'static, str>,
    /// Whether anybody is to be told.
    pub owed: bool,
    /// The message as it stands after it, in JSON.
    pub message: Option<String>,
    /// What it changed.
    pub changed: Changed,
    /// Who wrote the message.
    pub sender: Option<String>,
}

/// The message that an event is about.
fn target(event: &Event) -> Option<&str> {
    match &event.effect {
        Effect::Message(new) => Some(&new.external_id),
        Effect::Status(update) => Some(&update.target),
        Effect::Change { target, .. } => Some(target),
        Effect::Notice => None,
    }
}

/// Whether an event brings its message into being where there is none.
fn makes_message(event: &Event) -> bool {
    match &event.effect {
        Effect::Message(_) => true,
        Effect::Status(update) => update.progress.is_some(),
        Effect::Change { .. } | Effect::Notice => false,
    }
}

/// Whether an event brings a message of which nothing was told before, as far as is known: one from a person, under the key that
/// is its own id. Of what a business sends, news may come before the message itself; and what WhatsApp tells of the time before
/// (`history:…`) may be there under another key. Should it be there all the same, its constraint says so.
fn brings_unknown(fresh: &Fresh<'_>) -> bool {
    let Effect::Message(new) = &fresh.event.effect else { return false };
    fresh.is_believed && new.direction == Direction::Incoming && fresh.event.key.as_str() == new.external_id
}

fn name<'a>(fresh: &Fresh<'a>) -> Option<Name<'a>> {
    Some((fresh.source(), target(fresh.event)?))
}

fn sorted<'f, 'a: 'f>(events: impl Iterator<Item = &'f Fresh<'a>>) -> Vec<Name<'a>> {
    let mut names: Vec<_> = events.filter_map(name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

impl<'a> Fold<'a> {
    /// Reads and locks the messages that these events are about, and takes out the changes that waited for those which
    /// now come. What was never there is not looked for.
    pub(crate) async fn read(conn: &AsyncPgConnection, events: &[Fresh<'a>]) -> QueryResult<Self> {
        let names = sorted(events.iter());
        if names.is_empty() {
            return Ok(Self::default());
        }
        let there = sorted(events.iter().filter(|fresh| !brings_unknown(fresh)));
        // Nothing waits for a message that is there: whatever did was applied as it came.
        let made = events.iter().filter(|fresh| makes_message(fresh.event));
        let come: Vec<_> = made.filter_map(name).collect();
        let (rows, awaiting) = try_join!(messages::lock(conn, &there), changes_awaiting::take(conn, &come))?;
        let mut fold = Self { messages: vec![Folding::default(); names.len()], names };
        for row in rows {
            if let Some(place) = fold.place(row.source_id, &row.message.external_id) {
                fold.messages[place].row = Some(row);
            }
        }
        for waiting in awaiting {
            if let Some(place) = fold.place(&waiting.source_id, &waiting.target) {
                fold.messages[place].awaiting.push(waiting);
            }
        }
        Ok(fold)
    }

    fn place(&self, source: &str, external_id: &str) -> Option<usize> {
        self.names.binary_search_by(|name| (*name).cmp(&(source, external_id))).ok()
    }

    /// Applies one event, in the order in which the group holds them.
    ///
    /// # Errors
    /// When a message cannot be shown as JSON, which it came as.
    pub(crate) fn apply(&mut self, source: &'a str, provider: &str, event: &'a Event) -> serde_json::Result<Folded> {
        match &event.effect {
            Effect::Message(new) => self.message(source, event, new),
            Effect::Status(update) => self.status(source, update),
            Effect::Change { target, change } => self.change(source, event, target, change),
            Effect::Notice => Ok(notice(provider, event)),
        }
    }

    fn message(&mut self, source: &'a str, event: &Event, new: &'a NewMessage) -> serde_json::Result<Folded> {
        let row = self.row(source, &new.external_id);
        row.message.arrive(event, new);
        Ok(Folded {
            event_type: "message_created".into(),
            owed: !event.quiet,
            message: Some(shown(row)?),
            changed: Changed::default(),
            sender: row.message.sender_id().map(str::to_owned),
        })
    }

    fn status(&mut self, source: &'a str, update: &'a StatusUpdate) -> serde_json::Result<Folded> {
        if update.progress.is_none() && !self.has(source, &update.target) {
            return Ok(nothing_changed());
        }
        let row = self.row(source, &update.target);
        let changed = row.message.join(update);
        updated(row, changed)
    }

    fn change(
        &mut self,
        source: &'a str,
        event: &Event,
        target: &'a str,
        change: &Change,
    ) -> serde_json::Result<Folded> {
        if !self.has(source, target) {
            let (source_id, key, said_at) = (source.to_owned(), event.key.clone(), event.occurred_at);
            let waiting = Awaiting { source_id, target: target.to_owned(), key, said_at, change: change.clone() };
            self.folding(source, target).awaiting.push(waiting);
            return Ok(nothing_changed());
        }
        let row = self.row(source, target);
        let changed = row.message.change(event.occurred_at, &event.key, change);
        updated(row, changed)
    }

    fn has(&self, source: &str, external_id: &str) -> bool {
        self.place(source, external_id).is_some_and(|place| self.messages[place].row.is_some())
    }

    fn folding(&mut self, source: &str, external_id: &str) -> &mut Folding<'a> {
        let place = self.place(source, external_id).expect("every message that an event is about was asked for");
        &mut self.messages[place]
    }

    /// The row of a message, made if there is none; whatever waited for it is applied as it comes into being.
    fn row(&mut self, source_id: &'a str, external_id: &'a str) -> &mut MessageRow<'a> {
        let folding = self.folding(source_id, external_id);
        folding.is_touched = true;
        folding.is_new |= folding.row.is_none();
        let waited = if folding.row.is_some() { Vec::new() } else { std::mem::take(&mut folding.awaiting) };
        let row = folding.row.get_or_insert_with(|| MessageRow {
            id: Uuid::now_v7(),
            source_id,
            message: Message::unseen(external_id),
        });
        for Awaiting { said_at, key, change, .. } in waited {
            row.message.change(said_at, &key, &change);
        }
        row
    }

    /// Writes the messages that were touched, and keeps the changes whose messages have not come.
    pub(crate) async fn write(&self, conn: &AsyncPgConnection) -> QueryResult<()> {
        let rows = |is_new: bool| -> Vec<_> {
            let touched = self.messages.iter().filter(|known| known.is_touched && known.is_new == is_new);
            touched.filter_map(|known| known.row.as_ref()).collect()
        };
        let waiting: Vec<_> = self.messages.iter().flat_map(|known| &known.awaiting).cloned().collect();
        let (new, changed) = (rows(true), rows(false));
        let (inserted, updated, kept) = join!(
            messages::insert(conn, &new),
            messages::update(conn, &changed),
            changes_awaiting::put(conn, &waiting),
        );
        root_cause([inserted, updated, kept])
    }
}

fn shown(row: &MessageRow<'_>) -> serde_json::Result<String> {
    let mut buffer = Uuid::encode_buffer();
    row.message.snapshot(row.id.hyphenated().encode_lower(&mut buffer))
}

fn updated(row: &MessageRow<'_>, changed: Changed) -> serde_json::Result<Folded> {
    let (message, sender) = (Some(shown(row)?), row.message.sender_id().map(str::to_owned));
    Ok(Folded { event_type: "message_updated".into(), owed: !changed.is_empty(), message, changed, sender })
}

/// Of a message that is not there.
fn nothing_changed() -> Folded {
    let (message, changed, sender) = Default::default();
    Folded { event_type: "message_updated".into(), owed: false, message, changed, sender }
}

/// An event about no message: called by its provider and kind, spelt as Standard Webhooks allows (`[A-Za-z0-9_.]`).
fn notice(provider: &str, event: &Event) -> Folded {
    let spelt = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '_' };
    let kind: String = event.kind.chars().map(spelt).collect();
    let event_type = format!("{provider}.{kind}").into();
    Folded { event_type, owed: !event.quiet, message: None, changed: Changed::default(), sender: None }
}
