//! What became of outgoing messages.

use serde_json::Value;
use vocabulary::{Effect, Event, Progress, StatusUpdate};

use super::{envelope::Change, notice};
use crate::json::{Fault, Fields, Node, unix_time};

/// Reads a status. A word that we do not know is recorded, and moves nothing.
pub(super) fn read(change: &Change<'_>, node: Node<'_>) -> Result<Event, Fault> {
    let value = node.value()?;
    let status = Fields::of(&value, node.path())?;
    if change.field == "calls" || status.loose_text("type").as_deref() == Some("call") {
        return notice::call_status(node);
    }
    let (id, word) = (status.id("id")?, status.required_text("status")?);
    let progress = Progress::from_word(word);
    let errors = status.get("errors").filter(|_| progress == Some(Progress::Failed)).map(Value::from);
    Ok(Event {
        key: status.key("id", key(id, word, &status))?,
        kind: "status".into(),
        occurred_at: status.get("timestamp").and_then(unix_time),
        raw: node.raw(),
        raw_is_json: true,
        effect: Effect::Status(StatusUpdate { target: id.to_owned(), progress, errors }),
        quiet: false,
    })
}

/// In a group, each participant has the same message delivered, so the same status of it comes once for each.
fn key(id: &str, word: &str, status: &Fields<'_>) -> String {
    let participant = ["recipient_participant_user_id", "recipient_participant_id"];
    match participant.into_iter().find_map(|name| status.loose_text(name)) {
        Some(participant) => format!("{id}:{word}:{participant}"),
        None => format!("{id}:{word}"),
    }
}
