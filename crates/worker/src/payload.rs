//! What customers are told: the body of a webhook, built once, in the transaction that makes it true.
//!
//! Most of it is JSON already: the item as the provider sent it, the message as it is shown. So it is put together, not read
//! and written anew.

use std::borrow::Cow;

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;
use vocabulary::{Changed, Event};

use crate::unpack::RawWork;

/// About what a body takes beside the message and the item in it; more is no harm.
const BESIDE_ITS_PARTS: usize = 512;

/// What is known of an event when its body is built.
pub(crate) struct Told<'a> {
    pub event_id: Uuid,
    pub event_type: &'a str,
    pub sequence: i64,
    /// In JSON.
    pub message: Option<&'a str>,
    pub changed: &'a Changed,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: &'a str,
    data: Ids<'a>,
}

/// What an event is found by.
#[derive(Serialize)]
struct Ids<'a> {
    event_id: Uuid,
    source_id: &'a str,
    account_id: &'a str,
    key: &'a str,
    sequence: i64,
}

/// What a message is found by.
#[derive(Serialize, Deserialize)]
struct MessageIds<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    external_id: &'a RawValue,
}

/// What a body ends with: `data`, and itself.
const END: &[u8] = b"}}";

/// The bodies of the webhook about an event: Standard Webhooks' `{type, timestamp, data}`.
impl Told<'_> {
    /// Everything that is known of it.
    pub(crate) fn full(&self, raw_work: &RawWork, event: &Event) -> serde_json::Result<Vec<u8>> {
        let parts = self.message.map_or(0, str::len) + event.raw.len();
        let mut body = self.ids(raw_work, event, parts)?;
        if let Some(message) = self.message {
            add(&mut body, "message", message.as_bytes());
        }
        if !self.changed.is_empty() {
            add(&mut body, "changed", &serde_json::to_vec(&self.changed.to_json())?);
        }
        add(&mut body, "raw", &raw(event)?);
        Ok(body)
    }

    /// Its ids, and those of its message.
    pub(crate) fn thin(&self, raw_work: &RawWork, event: &Event) -> serde_json::Result<Vec<u8>> {
        let mut body = self.ids(raw_work, event, 0)?;
        if let Some(message) = self.message {
            let ids: MessageIds<'_> = serde_json::from_str(message)?;
            add(&mut body, "message", &serde_json::to_vec(&ids)?);
        }
        Ok(body)
    }

    /// A body with nothing but the ids, and room for so many bytes more: as many as are kept, for as long as it waits.
    fn ids(&self, raw_work: &RawWork, event: &Event, room: usize) -> serde_json::Result<Vec<u8>> {
        let data = Ids {
            event_id: self.event_id,
            source_id: raw_work.raw_event.source_id.as_str(),
            account_id: raw_work.account_id(),
            key: event.key.as_str(),
            sequence: self.sequence,
        };
        let time = event.occurred_at.unwrap_or(raw_work.raw_event.received_at);
        let timestamp = &time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let mut body = Vec::with_capacity(BESIDE_ITS_PARTS + room);
        serde_json::to_writer(&mut body, &Body { r#type: self.event_type, timestamp, data })?;
        Ok(body)
    }
}

/// The item as the provider sent it: verbatim where it is JSON, as a text where it is not.
fn raw(event: &Event) -> serde_json::Result<Cow<'_, [u8]>> {
    let json = serde_json::from_slice::<&RawValue>;
    if event.raw_is_json {
        debug_assert!(json(&event.raw).is_ok(), "an item of kind {} is no JSON, which it is said to be", event.kind);
        return Ok(Cow::Borrowed(&event.raw));
    }
    match json(&event.raw) {
        Ok(json) => Ok(Cow::Borrowed(json.get().as_bytes())),
        Err(_) => serde_json::to_vec(&String::from_utf8_lossy(&event.raw)).map(Cow::Owned),
    }
}

/// Gives `data` one more member, of this JSON.
fn add(body: &mut Vec<u8>, name: &str, json: &[u8]) {
    body.truncate(body.len() - END.len());
    for part in [b",\"", name.as_bytes(), b"\":", json, END] {
        body.extend_from_slice(part);
    }
}
