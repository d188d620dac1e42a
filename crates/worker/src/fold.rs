//! What the events of one transaction do to messages: every message is read once, joined in memory, written once.

use std::collections::{HashMap, HashSet};

use database::{
    AsyncPgConnection, QueryResult,
    changes_awaiting::{self, Awaiting},
    messages::{self, MessageRow},
};
use serde_json::Value;
use uuid::Uuid;
use vocabulary::{Change, Changed, Effect, Event, Message, NewMessage, StatusUpdate};

/// The messages that the events at hand are about, as they stand.
#[derive(Default)]
pub(crate) struct Fold {
    rows: HashMap<Name, MessageRow>,
    touched: HashSet<Name>,
    awaiting: HashMap<Name, Vec<Awaiting>>,
}

type Name = (String, String);

/// What an event did, and so what it is called.
pub(crate) struct Folded {
    /// The name of its webhook.
    pub event_type: String,
    /// Whether anybody is to be told.
    pub owed: bool,
    /// The message as it stands after it.
    pub message: Option<Value>,
    /// What it changed.
    pub changed: Changed,
}

fn name(source: &str, external_id: &str) -> Name {
    (source.to_owned(), external_id.to_owned())
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

impl Fold {
    /// Reads and locks the messages that these events are about, and takes out the changes that waited for those which
    /// now come.
    pub(crate) async fn read(conn: &AsyncPgConnection, events: &[(&str, &Event)]) -> QueryResult<Self> {
        let mut wanted: Vec<_> = events.iter().filter_map(|(source, event)| Some((*source, target(event)?))).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut fold = Self::default();
        if wanted.is_empty() {
            return Ok(fold);
        }
        for row in messages::lock(conn, &wanted).await? {
            fold.rows.insert(name(&row.source_id, &row.message.external_id), row);
        }
        let made = events.iter().filter(|(_, event)| makes_message(event));
        let mut come: Vec<_> = made.filter_map(|(source, event)| Some((*source, target(event)?))).collect();
        come.retain(|(source, external_id)| !fold.rows.contains_key(&name(source, external_id)));
        for waiting in changes_awaiting::take(conn, &come).await? {
            fold.await_message(waiting);
        }
        Ok(fold)
    }

    /// Applies one event, in the order in which the group holds them.
    pub(crate) fn apply(&mut self, source: &str, provider: &str, event: &Event) -> Folded {
        match &event.effect {
            Effect::Message(new) => self.message(source, event, new),
            Effect::Status(update) => self.status(source, update),
            Effect::Change { target, change } => self.change(source, event, target, change),
            Effect::Notice => notice(provider, event),
        }
    }

    fn message(&mut self, source: &str, event: &Event, new: &NewMessage) -> Folded {
        let row = self.row(source, &new.external_id);
        row.message.arrive(event, new);
        let message = row.message.snapshot(&row.id.to_string());
        Folded {
            event_type: "message_created".into(),
            owed: !event.quiet,
            message: Some(message),
            changed: Changed::default(),
        }
    }

    fn status(&mut self, source: &str, update: &StatusUpdate) -> Folded {
        if update.progress.is_none() && !self.rows.contains_key(&name(source, &update.target)) {
            return updated(None, Changed::default());
        }
        let row = self.row(source, &update.target);
        let changed = row.message.join(update);
        updated(Some(row.message.snapshot(&row.id.to_string())), changed)
    }

    fn change(&mut self, source: &str, event: &Event, target: &str, change: &Change) -> Folded {
        if !self.rows.contains_key(&name(source, target)) {
            let (source_id, target) = name(source, target);
            let (key, said_at, change) = (event.key.clone(), event.occurred_at, change.clone());
            self.await_message(Awaiting { source_id, target, key, said_at, change });
            return updated(None, Changed::default());
        }
        let row = self.row(source, target);
        let changed = row.message.change(event.occurred_at, &event.key, change);
        updated(Some(row.message.snapshot(&row.id.to_string())), changed)
    }

    /// The row of a message, made if there is none; whatever waited for it is applied as it comes into being.
    fn row(&mut self, source: &str, external_id: &str) -> &mut MessageRow {
        let name = name(source, external_id);
        self.touched.insert(name.clone());
        let waited = if self.rows.contains_key(&name) { None } else { self.awaiting.remove(&name) };
        let row = self.rows.entry(name).or_insert_with(|| MessageRow {
            id: Uuid::now_v7(),
            source_id: source.to_owned(),
            message: Message::unseen(external_id),
        });
        for Awaiting { said_at, key, change, .. } in waited.into_iter().flatten() {
            row.message.change(said_at, &key, &change);
        }
        row
    }

    fn await_message(&mut self, waiting: Awaiting) {
        self.awaiting.entry(name(&waiting.source_id, &waiting.target)).or_default().push(waiting);
    }

    /// Writes the messages that were touched, and keeps the changes whose messages have not come.
    pub(crate) async fn write(&self, conn: &AsyncPgConnection) -> QueryResult<()> {
        let mut rows: Vec<_> = self.touched.iter().filter_map(|name| self.rows.get(name)).collect();
        if !rows.is_empty() {
            messages::put(conn, &mut rows).await?;
        }
        let waiting: Vec<_> = self.awaiting.values().flatten().cloned().collect();
        if !waiting.is_empty() {
            changes_awaiting::put(conn, &waiting).await?;
        }
        Ok(())
    }
}

fn updated(message: Option<Value>, changed: Changed) -> Folded {
    Folded { event_type: "message_updated".into(), owed: !changed.is_empty(), message, changed }
}

/// An event about no message: called by its provider and kind, spelt as Standard Webhooks allows (`[A-Za-z0-9_.]`).
fn notice(provider: &str, event: &Event) -> Folded {
    let spelt = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '_' };
    let kind: String = event.kind.chars().map(spelt).collect();
    Folded { event_type: format!("{provider}.{kind}"), owed: !event.quiet, message: None, changed: Changed::default() }
}
