//! Bodies that are one event, as most providers' are: one JSON object with an id.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ring::digest::{SHA256, digest};
use serde_json::Value;
use vocabulary::{Effect, Event, Item, Key, RawEvent};

use crate::{
    json::{Fault, Fields, Json, Node, Path, Text, key},
    reason,
    signature::to_hex,
};

/// What is made of one.
pub(crate) struct Single {
    /// What it is known by.
    pub key: Key,
    /// The provider's word for what it is.
    pub kind: String,
    /// When it happened, by the provider's clock.
    pub occurred_at: Option<DateTime<Utc>>,
}

impl Single {
    fn event(self, raw: Bytes, raw_is_json: bool) -> Event {
        let Self { key, kind, occurred_at } = self;
        Event { key, kind: clean_kind(&kind), occurred_at, raw, raw_is_json, effect: Effect::Notice, quiet: false }
    }
}

/// The one item of a raw event whose body is a JSON object.
pub(crate) fn split(raw_event: &RawEvent, read: impl FnOnce(&Fields<'_>) -> Result<Single, Fault>) -> Vec<Item> {
    one(raw_event, object(&raw_event.body, read))
}

/// The one item of a raw event whose key is in a header: a body that is no JSON object does not cost the event, and is read as
/// one without members.
pub(crate) fn split_by_header(
    raw_event: &RawEvent,
    read: impl FnOnce(&Fields<'_>) -> Result<Single, Fault>,
) -> Vec<Item> {
    one(raw_event, members(&raw_event.body, read))
}

/// What is read of a JSON object, or of one without members where there is none.
///
/// # Errors
/// When `read` says so.
pub(crate) fn members(json: &Bytes, read: impl FnOnce(&Fields<'_>) -> Result<Single, Fault>) -> Result<Single, Fault> {
    let text = Text::of(json);
    let value = text.root().and_then(|node| node.value()).ok().filter(|value| value.as_object().is_some());
    read(&Fields::of(&value.unwrap_or(Json::Object(Vec::new())), Path::default())?)
}

/// What is read of a JSON object.
///
/// # Errors
/// When it is none, or not one that can be read.
pub(crate) fn object(json: &Bytes, read: impl FnOnce(&Fields<'_>) -> Result<Single, Fault>) -> Result<Single, Fault> {
    let text = Text::of(json);
    let node = text.root()?;
    let value = node.value()?;
    read(&Fields::of(&value, node.path())?)
}

/// A raw event that is one item, however it was read.
pub(crate) fn one(raw_event: &RawEvent, read: Result<Single, Fault>) -> Vec<Item> {
    let body = &raw_event.body;
    vec![read.map(|single| single.event(body.clone(), false)).map_err(|fault| fault.rejects_body(body.clone()))]
}

/// The items of a raw event whose body is a list of JSON objects.
pub(crate) fn each(raw_event: &RawEvent, read: impl Fn(&Fields<'_>) -> Result<Single, Fault>) -> Vec<Item> {
    let text = Text::of(&raw_event.body);
    let event = |node: Node<'_>| {
        let value = node.value()?;
        Ok(read(&Fields::of(&value, node.path())?)?.event(node.raw(), true))
    };
    match text.root().and_then(|node| node.elements()) {
        Ok(nodes) => nodes.map(|node| event(node).map_err(|fault| node.reject(fault))).collect(),
        Err(fault) => vec![Err(fault.rejects_body(raw_event.body.clone()))],
    }
}

/// What an object is: the name of its one member beside these; `None` where there are two, or none.
pub(crate) fn lone_member(object: &Fields<'_>, besides: &[&str]) -> Option<String> {
    let Some(Value::Object(others)) = object.all_but(besides) else { return None };
    let mut names = others.into_iter().map(|(name, _)| name);
    names.next().filter(|_| names.next().is_none())
}

/// No provider's word is longer.
const MAX_KIND: usize = 128;

/// A provider's word as a kind: no NUL, which Postgres keeps in no text, not endless, and never nothing.
pub(crate) fn clean_kind(word: &str) -> String {
    match word {
        "" => "unknown".into(),
        word if word.len() <= MAX_KIND && !word.contains('\0') => word.to_owned(),
        word => word.chars().take(MAX_KIND).map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }).collect(),
    }
}

/// The only value of a header that was kept with a raw event; a key that could be one of two is none.
pub(crate) fn kept<'r>(raw_event: &'r RawEvent, name: &str) -> Option<&'r str> {
    kept_of(raw_event, &[name])
}

/// The same of a header that goes by more than one name.
pub(crate) fn kept_of<'r>(raw_event: &'r RawEvent, names: &[&str]) -> Option<&'r str> {
    let of_names = |(known, _): &&(String, String)| names.contains(&known.as_str());
    let mut values = raw_event.headers.iter().filter(of_names).map(|(_, value)| value.as_str());
    values.next().filter(|value| !value.is_empty() && values.next().is_none())
}

/// The same, of a header that must be there.
///
/// # Errors
/// When it is missing, or came twice.
pub(crate) fn required<'r>(raw_event: &'r RawEvent, name: &str) -> Result<&'r str, Fault> {
    let what = format_args!("the header {name} is missing, or there are two");
    kept(raw_event, name).ok_or_else(|| Fault::at(Path::default(), reason::MISSING_ID, what))
}

/// The key that is made of a header.
///
/// # Errors
/// When it is missing, came twice, or cannot be a key.
pub(crate) fn header_key(raw_event: &RawEvent, name: &str) -> Result<Key, Fault> {
    key(&Path::default(), required(raw_event, name)?)
}

/// A date and time as RFC 3339 writes it. What is none is left out.
pub(crate) fn rfc3339(value: &Json<'_>) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(value.as_str()?).ok().map(|time| time.with_timezone(&Utc))
}

/// The first value of this name in a form. JSON is none, whatever text it holds.
pub(crate) fn form_value(body: &[u8], wanted: &str) -> Option<String> {
    if body.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    form_urlencoded::parse(body).find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
}

/// A key of several parts. What separates them is escaped in all but the last, so that no two lists of parts make one key.
pub(crate) fn joined<'p>(parts: impl IntoIterator<Item = &'p str, IntoIter: DoubleEndedIterator>) -> String {
    let mut parts = parts.into_iter();
    let last = parts.next_back().unwrap_or_default();
    let escaped = parts.map(|part| part.replace('%', "%25").replace(':', "%3A") + ":");
    escaped.chain([last.to_owned()]).collect()
}

/// What stands for bytes that have no id, in hexadecimal.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    to_hex(digest(&SHA256, bytes.as_ref()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_lists_of_parts_make_one_key_and_a_plain_one_is_as_it_was() {
        let lists = [["a", "b:c"], ["a:b", "c"], ["a%3Ab", "c"], ["", "a:b:c"], ["a:b:c", ""]];

        let keys = lists.map(joined);

        for (place, key) in keys.iter().enumerate() {
            assert!(!keys[..place].contains(key), "{key}");
        }
        assert_eq!(joined(["orders/create", "a:1"]), "orders/create:a:1");
    }
}
