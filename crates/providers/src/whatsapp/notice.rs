//! What is no message: calls, conversions, errors, and every field that concerns the account or that we do not know.

use vocabulary::{Effect, Event};

use super::{PHONE_NUMBER_ID, envelope::Change};
use crate::{
    json::{Fault, Fields, Json, Node, canonical, key, unix_time},
    single::sha256,
};

/// Something without an id of its own, known by what it says.
///
/// Its key is made from the JSON that was sent and from nothing that we understand of it, so that it does not change when
/// we understand more. Two that say the same in all things, time included, cannot be told from a redelivery.
///
/// The time of the entry belongs to what it says only where it says no time of its own. Meta's pages do not agree on whether
/// a redelivery keeps it: it is when the webhook was triggered on WhatsApp's, and when it was sent on the Graph API's. If it
/// changes, a key with it tells an event twice. A key without it loses one: a template that is paused, approved and paused
/// once more says the same the second time, and nothing but this time is different. Messenger's and Instagram's items have
/// times or ids of their own, so that there no key is made of it.
pub(super) fn notice(change: &Change<'_>, kind: &str, node: Node<'_>) -> Result<Event, Fault> {
    let value = node.value()?;
    let number = change.metadata(PHONE_NUMBER_ID).map_or(Json::Null, Json::Text);
    let inside = value.get("value").and_then(|inside| inside.get("timestamp"));
    let own_time = [value.get("timestamp"), inside].into_iter().flatten().find_map(unix_time);
    let triggered_at = if own_time.is_some() { Json::Null } else { change.entry_time.clone() };
    let said = Json::Array(vec![value, change.entry_id.clone(), triggered_at, number]);
    let key = key(&node.path(), format!("{kind}:{}", sha256(canonical(&said))))?;
    let occurred_at = own_time.or_else(|| unix_time(change.entry_time));
    Ok(Event {
        key,
        kind: kind.to_owned(),
        occurred_at,
        raw: node.raw(),
        raw_is_json: true,
        effect: Effect::Notice,
        quiet: false,
    })
}

/// A call, once for each thing that happens to it.
pub(super) fn call(node: Node<'_>) -> Result<Event, Fault> {
    named(node, "calls", "call", "event")
}

/// What became of a call that the business made.
pub(super) fn call_status(node: Node<'_>) -> Result<Event, Fault> {
    named(node, "calls", "call", "status")
}

/// A purchase or a lead that Meta saw in a thread; its id is the message's.
pub(super) fn automatic_event(node: Node<'_>) -> Result<Event, Fault> {
    named(node, "automatic_events", "auto", "event_name")
}

fn named(node: Node<'_>, kind: &str, prefix: &str, word: &str) -> Result<Event, Fault> {
    let value = node.value()?;
    let said = Fields::of(&value, node.path())?;
    let (id, word) = (said.id("id")?, said.required_text(word)?);
    Ok(Event {
        key: said.key("id", format!("{prefix}:{id}:{word}"))?,
        kind: kind.to_owned(),
        occurred_at: said.get("timestamp").and_then(unix_time),
        raw: node.raw(),
        raw_is_json: true,
        effect: Effect::Notice,
        quiet: false,
    })
}
