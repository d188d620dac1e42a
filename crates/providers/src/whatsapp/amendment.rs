//! What one message does to another: reactions, edits, revokes.

use std::borrow::Cow;

use vocabulary::{Change, Effect, Reaction};

use super::{content::Content, people::author_of};
use crate::json::{Fault, Fields};

/// Reads a message of type `reaction`, `edit` or `revoke`.
///
/// # Errors
/// When it does not say which message it is about: there would be nothing that it could change. When it is an edit that
/// leaves nothing which we can read: taken as it is, it would wipe the message.
pub(super) fn read(kind: &str, message: &Fields<'_>) -> Result<Effect, Fault> {
    let own = message.required_fields(kind)?;
    let (target, change) = match kind {
        "reaction" => (own.id("message_id")?, reaction(message, &own)?),
        "edit" => (own.id("original_message_id")?, edit(&own)?),
        _ => (own.id("original_message_id")?, Change::Revoke),
    };
    Ok(Effect::Change { target: target.to_owned(), change })
}

/// Without an emoji, an earlier reaction is taken back.
fn reaction(message: &Fields<'_>, own: &Fields<'_>) -> Result<Change, Fault> {
    let emoji = own.text("emoji")?.filter(|emoji| !emoji.is_empty());
    Ok(Change::Reaction(Reaction { from: author_of(message).map(Cow::into_owned), emoji: emoji.map(str::to_owned) }))
}

fn edit(own: &Fields<'_>) -> Result<Change, Fault> {
    let edited = own.required_fields("message")?;
    let Content { text, attachments, .. } = Content::of(edited.required_text("type")?, &edited)?;
    if text.as_ref().is_none_or(String::is_empty) && attachments.is_empty() {
        return Err(own.wrong_type("message", "a message with a text or an attachment that we can read"));
    }
    Ok(Change::Edit { content: text, attachments })
}
