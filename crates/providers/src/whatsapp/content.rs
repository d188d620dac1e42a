//! What a message says, by its type: a text, what hangs on it, and what neither holds.
//!
//! An edit carries the new content in the same form, so it is read with the same code.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;
use vocabulary::Attachment;

use crate::json::{Fault, Fields, Node, Text};

/// What is held by an [`Attachment`] or by the content, of a file's object.
const FILE: [&str; 6] = ["id", "mime_type", "sha256", "url", "filename", "caption"];

/// What a message says.
#[derive(Default)]
pub(super) struct Content {
    /// Its text, or the caption.
    pub text: Option<String>,
    /// Files (never downloaded here), places, cards, orders.
    pub attachments: Vec<Attachment>,
    /// Its type's own object, verbatim, where the two above do not hold all of it.
    pub details: Option<Value>,
}

impl Content {
    /// Reads the object that is called like the message's type. A type that we do not know keeps it as its details.
    ///
    /// # Errors
    /// When something that a text is taken from has another JSON type.
    pub(super) fn of(kind: &str, message: &Fields<'_>) -> Result<Self, Fault> {
        match kind {
            "text" => Self::text(message),
            "image" | "audio" | "video" | "document" | "sticker" => Self::file(kind, message),
            "location" => Self::place(message),
            "contacts" => Self::cards(message),
            "order" => Self::order(message),
            "button" => Self::button(message),
            "interactive" => Self::interactive(message),
            _ => Ok(Self { details: message.get(kind).map(Value::from), ..Self::default() }),
        }
    }

    fn text(message: &Fields<'_>) -> Result<Self, Fault> {
        let Some(text) = message.fields("text")? else { return Ok(Self::default()) };
        Ok(Self { text: owned(text.text("body")?), details: text.all_but(&["body"]), ..Self::default() })
    }

    fn file(kind: &str, message: &Fields<'_>) -> Result<Self, Fault> {
        let Some(file) = message.fields(kind)? else { return Ok(Self::default()) };
        let attachment = Attachment {
            kind: kind.to_owned(),
            id: owned(file.loose_text("id")),
            mime_type: owned(file.loose_text("mime_type")),
            sha256: owned(file.loose_text("sha256")),
            url: owned(file.loose_text("url")),
            filename: owned(file.loose_text("filename")),
            data: file.all_but(&FILE),
        };
        Ok(Self { text: owned(file.text("caption")?), attachments: vec![attachment], details: None })
    }

    fn place(message: &Fields<'_>) -> Result<Self, Fault> {
        let place = message.fields("location")?.and_then(|place| place.all_but(&[]));
        Ok(Self {
            attachments: place.into_iter().map(|place| with_data("location", place)).collect(),
            ..Self::default()
        })
    }

    /// One message, however many cards: one wamid is one message.
    fn cards(message: &Fields<'_>) -> Result<Self, Fault> {
        let cards = message.list("contacts")?.iter();
        Ok(Self { attachments: cards.map(|card| with_data("contact", card.into())).collect(), ..Self::default() })
    }

    fn order(message: &Fields<'_>) -> Result<Self, Fault> {
        let Some(order) = message.fields("order")? else { return Ok(Self::default()) };
        let attachments = order.all_but(&[]).into_iter().map(|order| with_data("order", order)).collect();
        Ok(Self { text: owned(order.text("text")?), attachments, details: None })
    }

    fn button(message: &Fields<'_>) -> Result<Self, Fault> {
        let Some(button) = message.fields("button")? else { return Ok(Self::default()) };
        Ok(Self { text: owned(button.text("text")?), details: button.all_but(&[]), ..Self::default() })
    }

    fn interactive(message: &Fields<'_>) -> Result<Self, Fault> {
        let Some(interactive) = message.fields("interactive")? else { return Ok(Self::default()) };
        let mut text = None;
        for (reply, name) in [("button_reply", "title"), ("list_reply", "title"), ("nfm_reply", "body")] {
            if let Some(reply) = interactive.fields(reply)? {
                text = text.or(owned(reply.text(name)?));
            }
        }
        let answers = interactive.fields("nfm_reply")?.and_then(|reply| reply.loose_text("response_json"));
        let details = interactive.all_but(&[]).map(|own| with_answers(own, answers));
        Ok(Self { text, details, ..Self::default() })
    }
}

/// A flow's answers come as JSON in a string. What is no JSON stays the string that it is.
fn with_answers(mut interactive: Value, answers: Option<Cow<'_, str>>) -> Value {
    let body = Bytes::from(answers.unwrap_or_default().into_owned());
    let text = Text::of(&body);
    let parsed = text.root().and_then(Node::value).ok();
    if let Some((answers, parsed)) = interactive.pointer_mut("/nfm_reply/response_json").zip(parsed) {
        *answers = Value::from(&parsed);
    }
    interactive
}

fn with_data(kind: &str, data: Value) -> Attachment {
    Attachment { kind: kind.to_owned(), data: Some(data), ..Attachment::default() }
}

fn owned(text: Option<impl Into<String>>) -> Option<String> {
    text.map(Into::into)
}
