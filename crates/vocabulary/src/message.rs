//! What a chat event is about, and how it changes.
//!
//! Webhooks arrive late, twice and out of order, so nothing here may depend on the order of arrival. A status is a join
//! in `sent < delivered < read < played`; `failed` stands apart and is never taken back. Edits, revokes and reactions are
//! ordered by (provider's time, key). Applying the same things in any order gives the same message.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::{Change, Event, Key, StatusUpdate};

/// Which way a message went, seen from the business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From a person to the business.
    Incoming,
    /// From the business, by API or by its phone.
    Outgoing,
}

impl Direction {
    /// As columns and payloads spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
        }
    }
}

/// How far an outgoing message got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The provider took it.
    Sent,
    /// It reached the person's device.
    Delivered,
    /// The person saw it.
    Read,
    /// The person played it (voice notes).
    Played,
    /// It will not arrive. Apart from the others: see [`Message::status`].
    Failed,
}

impl Progress {
    /// The provider's word for it; `None` for a word that we do not know.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "sent" => Some(Self::Sent),
            "delivered" => Some(Self::Delivered),
            "read" => Some(Self::Read),
            "played" => Some(Self::Played),
            "failed" => Some(Self::Failed),
            _ => None,
        }
    }

    /// As columns and payloads spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Failed => "failed",
        }
    }
}

/// Who wrote a message, as known when it arrived. A snapshot: contacts are the app's business.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sender {
    /// The provider's lasting id for the person (WhatsApp: the business-scoped user id), else the phone number.
    pub id: Option<String>,
    /// The phone number, digits only; `None` for people who hide it.
    pub phone: Option<String>,
    /// The name that the person chose.
    pub name: Option<String>,
}

/// What hangs on a message: a file, a place, a contact card, an order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Attachment {
    /// `image`, `audio`, `video`, `document`, `sticker`, `location`, `contact`, `order`.
    pub kind: String,
    /// The provider's id of a file. Files are never downloaded here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The file's media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// The file's hash, as the provider writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where the file is; may need the provider's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The file's name, verbatim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// What only this kind has (a place's coordinates, a card's phones), as the provider wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// One person's reaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// Who: the provider's id of the person.
    pub from: Option<String>,
    /// With what; `None` takes an earlier reaction back.
    pub emoji: Option<String>,
}

/// What a new message brings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewMessage {
    /// The provider's id of it.
    pub external_id: String,
    /// Which way it went.
    pub direction: Direction,
    /// Who wrote it.
    pub sender: Option<Sender>,
    /// Its text or caption.
    pub content: Option<String>,
    /// What hangs on it.
    pub attachments: Vec<Attachment>,
    /// What it answers or forwards, verbatim.
    pub context: Option<Value>,
    /// The advertisement it came from, verbatim.
    pub referral: Option<Value>,
    /// The provider's `errors`, verbatim (`unsupported` has them).
    pub errors: Option<Value>,
    /// What only its kind has and nothing above holds (a button's payload, a flow's answers), by the kind's name.
    pub details: Option<Value>,
}

/// When something was said, to order two things that were said of the same message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Said {
    at: Option<DateTime<Utc>>,
    key: Key,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SaidReaction {
    said: Said,
    reaction: Reaction,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SaidEdit {
    said: Said,
    content: Option<String>,
    attachments: Vec<Attachment>,
}

/// A message as it stands: everything that has been said of it so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The provider's id of it.
    pub external_id: String,
    /// Which way it went.
    pub direction: Direction,
    /// The provider's `type`; `None` while only a status is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// When it was written, by the provider's clock.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "in_one_piece")]
    pub provider_timestamp: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sender: Option<Sender>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attachment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    context: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    referral: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errors: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reactions: Vec<SaidReaction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edit: Option<SaidEdit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<Said>,
}

/// What an event changed in a message: per field, from and to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changed(BTreeMap<&'static str, (Value, Value)>);

impl Changed {
    /// Whether nothing changed, so that nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// As the payload shows it: `{"status": {"from": "sent", "to": "read"}}`.
    pub fn to_json(&self) -> Value {
        let fields = self.0.iter().map(|(field, (from, to))| ((*field).to_owned(), json!({"from": from, "to": to})));
        Value::Object(fields.collect())
    }
}

impl Message {
    /// Who wrote it, by the provider's id or else the phone number; `None` while nobody has said.
    pub fn sender_id(&self) -> Option<&str> {
        let sender = self.sender.as_ref()?;
        sender.id.as_deref().or(sender.phone.as_deref())
    }

    /// A message of which nothing is known but that it exists: its status came before it.
    pub fn unseen(external_id: &str) -> Self {
        Self {
            external_id: external_id.to_owned(),
            direction: Direction::Outgoing,
            kind: None,
            provider_timestamp: None,
            sender: None,
            content: None,
            attachments: Vec::new(),
            context: None,
            referral: None,
            errors: None,
            details: None,
            progress: None,
            failure: None,
            reactions: Vec::new(),
            edit: None,
            revoked: None,
        }
    }

    /// Whether the message itself has arrived, not only something about it.
    pub fn is_seen(&self) -> bool {
        self.kind.is_some()
    }

    /// Takes the message itself in. A second arrival under another key (a history that repeats it) changes nothing.
    pub fn arrive(&mut self, event: &Event, new: &NewMessage) {
        if self.is_seen() {
            return;
        }
        let NewMessage { external_id: _, direction, sender, content, attachments, context, referral, errors, details } =
            new;
        self.direction = *direction;
        self.kind = Some(event.kind.clone());
        self.provider_timestamp = event.occurred_at;
        self.sender.clone_from(sender);
        self.content.clone_from(content);
        self.attachments.clone_from(attachments);
        self.context.clone_from(context);
        self.referral.clone_from(referral);
        self.errors.clone_from(errors);
        self.details.clone_from(details);
    }

    /// Joins a status in. Says what it changed: nothing, if the message had already got further.
    pub fn join(&mut self, update: &StatusUpdate) -> Changed {
        let before = self.status();
        match update.progress {
            Some(Progress::Failed) => {
                // Not null: a failure that is kept as null is read back as none.
                let errors = update.errors.clone().filter(|errors| !errors.is_null()).unwrap_or_else(|| json!([]));
                self.failure = Some(self.failure.take().filter(says_why).unwrap_or(errors));
            }
            progress => self.progress = self.progress.max(progress),
        }
        self.difference("status", json!(before.map(Progress::as_str)), json!(self.status().map(Progress::as_str)))
    }

    /// Applies what another message says of this one. Says what it changed: nothing, if a later one has spoken.
    pub fn change(&mut self, at: Option<DateTime<Utc>>, key: &Key, change: &Change) -> Changed {
        let said = Said { at, key: key.clone() };
        match change {
            Change::Reaction(reaction) => self.react(said, reaction),
            Change::Edit { content, attachments } => self.edit(said, content, attachments),
            Change::Revoke => self.revoke(said),
        }
    }

    fn react(&mut self, said: Said, reaction: &Reaction) -> Changed {
        let before = self.reactions_json();
        match self.reactions.iter_mut().find(|known| known.reaction.from == reaction.from) {
            Some(known) if known.said >= said => {}
            Some(known) => *known = SaidReaction { said, reaction: reaction.clone() },
            None => self.reactions.push(SaidReaction { said, reaction: reaction.clone() }),
        }
        self.reactions.sort_by(|a, b| a.reaction.from.cmp(&b.reaction.from));
        self.difference("reactions", before, self.reactions_json())
    }

    fn edit(&mut self, said: Said, content: &Option<String>, attachments: &[Attachment]) -> Changed {
        let before = (json!(self.content()), json!(self.attachments()));
        if self.edit.as_ref().is_none_or(|known| known.said < said) {
            self.edit = Some(SaidEdit { said, content: content.clone(), attachments: attachments.to_vec() });
        }
        let content = self.difference("content", before.0, json!(self.content()));
        content.and(self.difference("attachments", before.1, json!(self.attachments())))
    }

    fn revoke(&mut self, said: Said) -> Changed {
        let before = self.revoked.is_some();
        self.revoked = Some(self.revoked.take().map_or(said.clone(), |known| known.min(said)));
        self.difference("revoked", json!(before), json!(true))
    }

    fn difference(&self, field: &'static str, from: Value, to: Value) -> Changed {
        if from == to { Changed::default() } else { Changed(BTreeMap::from([(field, (from, to))])) }
    }

    /// How far it got. `failed` wins over everything, early or late, and is kept.
    pub fn status(&self) -> Option<Progress> {
        self.failure.as_ref().map(|_| Progress::Failed).or(self.progress)
    }

    /// Its text as it stands, with the latest edit.
    pub fn content(&self) -> Option<&str> {
        match &self.edit {
            Some(edit) => edit.content.as_deref(),
            None => self.content.as_deref(),
        }
    }

    fn attachments(&self) -> &[Attachment] {
        match &self.edit {
            Some(edit) if !edit.attachments.is_empty() => &edit.attachments,
            _ => &self.attachments,
        }
    }

    fn standing_reactions(&self) -> impl Iterator<Item = &Reaction> {
        self.reactions.iter().map(|said| &said.reaction).filter(|reaction| reaction.emoji.is_some())
    }

    fn reactions_json(&self) -> Value {
        json!(self.standing_reactions().collect::<Vec<_>>())
    }

    /// As a payload's `data.message` shows it, in JSON.
    ///
    /// # Errors
    /// Never: everything in it came out of JSON.
    pub fn snapshot(&self, id: &str) -> serde_json::Result<String> {
        let errors = self.failure.as_ref().filter(|errors| says_why(errors)).or(self.errors.as_ref());
        serde_json::to_string(&Snapshot {
            id,
            external_id: &self.external_id,
            direction: self.direction,
            kind: self.kind.as_deref(),
            status: self.status(),
            sender: self.sender.as_ref(),
            content: self.content(),
            attachments: self.attachments(),
            context: self.context.as_ref(),
            referral: self.referral.as_ref(),
            details: self.details.as_ref(),
            errors,
            reactions: self.standing_reactions().collect(),
            edited: self.edit.is_some(),
            revoked: self.revoked.is_some(),
            provider_timestamp: self.provider_timestamp,
        })
    }
}

/// Whether there is an error in a list of them.
fn says_why(errors: &Value) -> bool {
    errors.as_array().is_none_or(|errors| !errors.is_empty())
}

#[derive(Serialize)]
struct Snapshot<'a> {
    id: &'a str,
    external_id: &'a str,
    direction: Direction,
    kind: Option<&'a str>,
    status: Option<Progress>,
    sender: Option<&'a Sender>,
    content: Option<&'a str>,
    attachments: &'a [Attachment],
    context: Option<&'a Value>,
    referral: Option<&'a Value>,
    details: Option<&'a Value>,
    errors: Option<&'a Value>,
    reactions: Vec<&'a Reaction>,
    edited: bool,
    revoked: bool,
    #[serde(serialize_with = "in_one_piece")]
    provider_timestamp: Option<DateTime<Utc>>,
}

/// A time as chrono writes it, which does so letter by letter: serde_json would look at each for what must be escaped.
fn in_one_piece<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true)).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(word: &str) -> StatusUpdate {
        let errors = (word == "failed").then(|| json!([{"code": 131026}]));
        StatusUpdate { target: "wamid.1".into(), progress: Progress::from_word(word), errors }
    }

    fn shown(message: &Message) -> Value {
        serde_json::from_str(&message.snapshot("m").unwrap()).unwrap()
    }

    fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
        if items.is_empty() {
            return vec![Vec::new()];
        }
        let each = (0..items.len()).flat_map(|i| {
            let mut rest = items.to_vec();
            let head = rest.remove(i);
            permutations(&rest).into_iter().map(move |tail| [vec![head.clone()], tail].concat())
        });
        each.collect()
    }

    #[test]
    fn statuses_in_any_order_end_at_the_furthest() {
        for order in permutations(&["sent", "delivered", "read", "played"]) {
            let mut message = Message::unseen("wamid.1");
            for word in order {
                message.join(&status(word));
            }
            assert_eq!(message.status(), Some(Progress::Played));
        }
    }

    #[test]
    fn failed_is_kept_whatever_comes_before_or_after_it_and_keeps_its_errors() {
        for order in permutations(&["failed", "sent", "delivered", "read"]) {
            let mut message = Message::unseen("wamid.1");
            for word in order {
                message.join(&status(word));
            }
            assert_eq!(message.status(), Some(Progress::Failed));
            assert_eq!(shown(&message)["errors"], json!([{"code": 131026}]));
        }
    }

    #[test]
    fn a_failure_without_a_word_of_why_is_still_one_when_the_message_is_read_back() {
        let mut message = Message::unseen("wamid.1");
        message.join(&StatusUpdate { errors: None, ..status("failed") });

        let mut kept: Message = serde_json::from_slice(&serde_json::to_vec(&message).unwrap()).unwrap();

        assert!(kept.join(&status("delivered")).is_empty());
        assert_eq!((kept.status(), &shown(&kept)["errors"]), (Some(Progress::Failed), &Value::Null));
    }

    #[test]
    fn a_status_that_moves_nothing_changes_nothing() {
        let mut message = Message::unseen("wamid.1");

        assert_eq!(message.join(&status("read")).to_json(), json!({"status": {"from": null, "to": "read"}}));

        for late in ["sent", "delivered", "read", "a word of tomorrow"] {
            assert!(message.join(&status(late)).is_empty(), "{late}");
        }
    }

    #[test]
    fn an_edit_that_only_replaces_a_file_has_changed_something() {
        let file = |id: &str| Attachment { kind: "image".into(), id: Some(id.into()), ..Attachment::default() };
        let mut message = Message::unseen("wamid.1");
        message.attachments = vec![file("1")];

        let edit = Change::Edit { content: None, attachments: vec![file("2")] };
        let changed = message.change(None, &Key::new("e1").unwrap(), &edit).to_json();

        let only = |id: &str| json!([{"kind": "image", "id": id}]);
        assert_eq!(changed, json!({"attachments": {"from": only("1"), "to": only("2")}}));
    }

    #[test]
    fn edits_reactions_and_revokes_give_the_same_message_in_any_order() {
        let at = |second| DateTime::from_timestamp(second, 0);
        let edit = |text: &str| Change::Edit { content: Some(text.into()), attachments: Vec::new() };
        let react = |emoji: Option<&str>| {
            Change::Reaction(Reaction { from: Some("15550101234".into()), emoji: emoji.map(str::to_owned) })
        };
        let said = [
            (at(1), "e1", edit("first")),
            (at(2), "e2", edit("second")),
            (at(3), "r1", react(Some("👍"))),
            (at(4), "r2", react(None)),
            (at(5), "x1", Change::Revoke),
        ];

        let ends = permutations(&said).into_iter().map(|order| {
            let mut message = Message::unseen("wamid.1");
            for (at, key, change) in order {
                message.change(at, &Key::new(key).unwrap(), &change);
            }
            shown(&message)
        });

        let ends: Vec<_> = ends.collect();
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(
            (&ends[0]["content"], &ends[0]["reactions"], &ends[0]["revoked"]),
            (&json!("second"), &json!([]), &json!(true))
        );
    }
}
