//! What customers are told: the body of a webhook, built once, in the transaction that makes it true.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
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
    pub message: Option<&'a RawValue>,
    pub changed: &'a Changed,
}

#[derive(Serialize)]
struct Body<'a, D> {
    r#type: &'a str,
    timestamp: String,
    data: D,
}

/// What an event is found by.
#[derive(Serialize)]
struct Ids<'a> {
    event_id: String,
    source_id: &'a str,
    account_id: &'a str,
    key: &'a str,
    sequence: i64,
}

#[derive(Serialize)]
struct Full<'a> {
    #[serde(flatten)]
    ids: Ids<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<Value>,
    raw: Raw<'a>,
}

#[derive(Serialize)]
struct Thin<'a> {
    #[serde(flatten)]
    ids: Ids<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<MessageIds<'a>>,
}

/// What a message is found by.
#[derive(Serialize, Deserialize)]
struct MessageIds<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    external_id: &'a RawValue,
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

/// The bodies of the webhook about an event: Standard Webhooks' `{type, timestamp, data}`.
impl Told<'_> {
    /// Everything that is known of it.
    pub(crate) fn full(&self, raw_work: &RawWork, event: &Event) -> serde_json::Result<Vec<u8>> {
        let changed = (!self.changed.is_empty()).then(|| self.changed.to_json());
        let ids = self.ids(raw_work, event);
        let parts = self.message.map_or(0, |message| message.get().len()) + event.raw.len();
        self.body(raw_work, event, parts, Full { ids, message: self.message, changed, raw: Raw::of(&event.raw) })
    }

    /// Its ids, and those of its message.
    pub(crate) fn thin(&self, raw_work: &RawWork, event: &Event) -> serde_json::Result<Vec<u8>> {
        let message = self.message.map(|message| serde_json::from_str(message.get())).transpose()?;
        self.body(raw_work, event, 0, Thin { ids: self.ids(raw_work, event), message })
    }

    fn ids<'a>(&self, raw_work: &'a RawWork, event: &'a Event) -> Ids<'a> {
        Ids {
            event_id: self.event_id.to_string(),
            source_id: raw_work.raw_event.source_id.as_str(),
            account_id: raw_work.account_id(),
            key: event.key.as_str(),
            sequence: self.sequence,
        }
    }

    /// `parts` is how many bytes of what is there already go into it: as many as are kept, for as long as it waits.
    fn body(
        &self,
        raw_work: &RawWork,
        event: &Event,
        parts: usize,
        data: impl Serialize,
    ) -> serde_json::Result<Vec<u8>> {
        let timestamp = time(event.occurred_at.unwrap_or(raw_work.raw_event.received_at));
        let mut body = Vec::with_capacity(BESIDE_ITS_PARTS + parts);
        serde_json::to_writer(&mut body, &Body { r#type: self.event_type, timestamp, data })?;
        Ok(body)
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
