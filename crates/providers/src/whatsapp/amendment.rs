//! What one message does to another: reactions, edits, revokes.

use vocabulary::{Change, Effect, Reaction};

use super::{content::Content, people::author_of};
use crate::json::{Fault, Fields};

/// Reads a message of type `reaction`, `edit` or `revoke`.
///
/// # Errors
/// When it does not say which message it is about: there would be nothing that it could change.
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
    Ok(Change::Reaction(Reaction { from: author_of(message), emoji: emoji.map(str::to_owned) }))
}

fn edit(own: &Fields<'_>) -> Result<Change, Fault> {
    let edited = own.required_fields("message")?;
    let kind = edited.required_text("type")?;
    let Content { text, attachments, .. } = Content::of(kind, &edited)?;
    if text.is_none() && attachments.is_empty() {
        // A kind that we cannot read. Applied, it would wipe the message.
        return Err(edited.fault("type", "a type with a text or a file that we can read", &format!("{kind:?}")));
    }
    Ok(Change::Edit { content: text, attachments })
}
