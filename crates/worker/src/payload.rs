//! What customers are told: the body of a webhook, built once, in the transaction that makes it true.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use uuid::Uuid;
use vocabulary::{Changed, Event};

use crate::unpack::RawWork;

/// What is known of an event when its body is built.
pub(crate) struct Told<'a> {
    pub event_id: Uuid,
    pub event_type: &'a str,
    pub sequence: i64,
    pub message: Option<&'a RawValue>,
    pub changed: &'a Changed,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    event_id: String,
    source_id: &'a str,
    account_id: &'a str,
    key: &'a str,
    sequence: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<Value>,
    raw: Raw<'a>,
}

/// The item as the provider sent it: spliced in verbatim where it is JSON, as text where it is not.
#[derive(Serialize)]
#[serde(untagged)]
enum Raw<'a> {
    Json(&'a RawValue),
    Text(String),
}

impl<'a> Raw<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        match serde_json::from_slice(bytes) {
            Ok(json) => Self::Json(json),
            Err(_) => Self::Text(String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}

/// The body of the webhook about an event: Standard Webhooks' `{type, timestamp, data}`.
pub(crate) fn body(raw_work: &RawWork, event: &Event, told: Told<'_>) -> serde_json::Result<Vec<u8>> {
    let changed = (!told.changed.is_empty()).then(|| told.changed.to_json());
    let data = Data {
        event_id: told.event_id.to_string(),
        source_id: raw_work.raw_event.source_id.as_str(),
        account_id: &raw_work.account_id,
        key: event.key.as_str(),
        sequence: told.sequence,
        message: told.message,
        changed,
        raw: Raw::of(&event.raw),
    };
    let timestamp = time(event.occurred_at.unwrap_or(raw_work.raw_event.received_at));
    serde_json::to_vec(&Body { r#type: told.event_type, timestamp, data })
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
