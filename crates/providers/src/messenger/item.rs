//! One item: what somebody did in a conversation.

use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use vocabulary::{
    Attachment, Change, Direction, Effect, Event, Key, NewMessage, Progress, Reaction, Sender, StatusUpdate,
};

use crate::{
    json::{Fault, Fields, Json, Path, canonical, key, unix_millis, unix_time},
    single::{clean_kind, lone_member, sha256},
};

/// What an item is, whatever else stands beside it.
const KNOWN: [&str; 5] = ["message", "message_edit", "reaction", "read", "postback"];
/// What an item has beside what it is.
const CIRCUMSTANCES: [&str; 4] = ["sender", "recipient", "timestamp", "hop_context"];
/// What has a place of its own in a [`NewMessage`], of a message.
const PLACED: [&str; 6] = ["mid", "text", "attachments", "reply_to", "referral", "is_echo"];

/// Reads an item, which is called what its member beside the circumstances is called. `raw` is its JSON, or JSON around it.
///
/// # Errors
/// When it is no object, or is a message, or about one, and does not say which, or what its content is taken from has another
/// JSON type.
pub(super) fn read(account: &str, value: &Json<'_>, path: Path<'_>, raw: Bytes) -> Result<Event, Fault> {
    let said = Fields::of(value, path.clone())?;
    let known = KNOWN.into_iter().find(|name| said.get(name).is_some()).map(str::to_owned);
    let kind = known.or_else(|| lone_member(&said, &CIRCUMSTANCES)).unwrap_or_default();
    let (key, effect) = match kind.as_str() {
        "message" => message(&said)?,
        "message_edit" => edit(&said)?,
        "reaction" => (hashed(account, &kind, value, &path)?, reaction(&said)?),
        "read" if said.required_fields("read")?.get("mid").is_some() => seen(&said)?,
        _ => return notice(account, &kind, value, path, raw),
    };
    Ok(Event {
        key,
        kind,
        occurred_at: said.get("timestamp").and_then(time),
        raw,
        raw_is_json: true,
        effect,
        quiet: false,
    })
}

/// What has no id of its own, and is known by what it says.
///
/// # Errors
/// Never: a hash can be a key.
pub(super) fn notice(account: &str, kind: &str, value: &Json<'_>, path: Path<'_>, raw: Bytes) -> Result<Event, Fault> {
    let kind = clean_kind(kind);
    let key = hashed(account, &kind, value, &path)?;
    let occurred_at = value.get("timestamp").and_then(time);
    Ok(Event { key, kind, occurred_at, raw, raw_is_json: true, effect: Effect::Notice, quiet: false })
}

fn hashed(account: &str, kind: &str, value: &Json<'_>, path: &Path<'_>) -> Result<Key, Fault> {
    let said = canonical(&Json::Array(vec![value.clone(), Json::Text(account.into())]));
    key(path, format!("{kind}:{}", sha256(said)))
}

/// A deletion is a message without a content: it says `is_deleted`, and the id of the message that it takes back.
fn message(said: &Fields<'_>) -> Result<(Key, Effect), Fault> {
    let message = said.required_fields("message")?;
    let mid = message.id("mid")?;
    if matches!(message.get("is_deleted"), Some(Json::Bool(true))) {
        let effect = Effect::Change { target: mid.to_owned(), change: Change::Revoke };
        return Ok((message.key("mid", format!("deleted:{mid}"))?, effect));
    }
    let is_echo = matches!(message.get("is_echo"), Some(Json::Bool(true)));
    let key = message.key("mid", if is_echo { format!("echo:{mid}") } else { mid.to_owned() })?;
    let (direction, sender) =
        if is_echo { (Direction::Outgoing, None) } else { (Direction::Incoming, id_of(said, "sender")) };
    let new = NewMessage {
        external_id: mid.to_owned(),
        direction,
        sender: sender.map(|id| Sender { id: Some(id), ..Sender::default() }),
        content: message.text("text")?.map(str::to_owned),
        attachments: message.list("attachments")?.iter().map(attachment).collect(),
        context: message.get("reply_to").map(Value::from),
        referral: message.get("referral").map(Value::from),
        errors: None,
        details: details(&message, is_echo.then(|| id_of(said, "recipient")).flatten()),
    };
    Ok((key, Effect::Message(Box::new(new))))
}

/// What has no place of its own, and where the message went.
fn details(message: &Fields<'_>, to: Option<String>) -> Option<Value> {
    let rest = message.all_but(&PLACED).map(|rest| ("message", rest));
    let details: Map<_, _> =
        rest.into_iter().chain(to.map(|to| ("to", json!(to)))).map(|(name, value)| (name.to_owned(), value)).collect();
    (!details.is_empty()).then_some(Value::Object(details))
}

/// Files are never downloaded here. What is no object is kept as it is.
fn attachment(value: &Json<'_>) -> Attachment {
    let text = |value: Option<&Json<'_>>| value.and_then(Json::as_str).map(str::to_owned);
    Attachment {
        kind: text(value.get("type")).unwrap_or_else(|| "unknown".into()),
        url: text(value.get("payload").and_then(|payload| payload.get("url"))).or_else(|| text(value.get("url"))),
        data: Some(value.into()),
        ..Attachment::default()
    }
}

fn edit(said: &Fields<'_>) -> Result<(Key, Effect), Fault> {
    let edit = said.required_fields("message_edit")?;
    let (mid, number) = (edit.id("mid")?, edit.text_or_number("num_edit")?);
    let number = number.ok_or_else(|| edit.wrong_type("num_edit", "a number"))?;
    let change = Change::Edit { content: Some(edit.required_text("text")?.to_owned()), attachments: Vec::new() };
    Ok((edit.key("mid", format!("edit:{mid}:{number}"))?, Effect::Change { target: mid.to_owned(), change }))
}

/// Without an emoji, an earlier reaction is taken back.
fn reaction(said: &Fields<'_>) -> Result<Effect, Fault> {
    let reaction = said.required_fields("reaction")?;
    let emoji = match reaction.required_text("action")? {
        "unreact" => None,
        _ => Some(reaction.text("emoji")?.map_or_else(|| reaction.required_text("reaction"), Ok)?.to_owned()),
    };
    let change = Change::Reaction(Reaction { from: id_of(said, "sender"), emoji });
    Ok(Effect::Change { target: reaction.id("mid")?.to_owned(), change })
}

/// Instagram names the message; Messenger says up to when all were read.
fn seen(said: &Fields<'_>) -> Result<(Key, Effect), Fault> {
    let read = said.required_fields("read")?;
    let mid = read.id("mid")?;
    let update = StatusUpdate { target: mid.to_owned(), progress: Some(Progress::Read), errors: None };
    Ok((read.key("mid", format!("{mid}:read"))?, Effect::Status(update)))
}

fn id_of(said: &Fields<'_>, whose: &str) -> Option<String> {
    said.fields(whose).ok().flatten()?.loose_text("id").map(Cow::into_owned)
}

/// In milliseconds; in seconds where an item is sent as a change. As many seconds as there are milliseconds no date has.
fn time(value: &Json<'_>) -> Option<DateTime<Utc>> {
    unix_time(value).or_else(|| unix_millis(value))
}
