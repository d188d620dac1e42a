//! Meta's WhatsApp Cloud API (`/webhooks/reference` of its documentation, as of August 2026).
//!
//! One request holds entries (business accounts), an entry holds changes, and a change holds, in its `value`, lists of
//! items: up to 1,000 in one request. What becomes of each:
//!
//! | item | file | key | effect |
//! |---|---|---|---|
//! | `messages[]` | `message.rs`, `content.rs` | `WAMID` | a new message |
//! | … of type reaction, edit, revoke | `amendment.rs` | `WAMID` | changes another message |
//! | … of type system | `message.rs` | `WAMID` | notice |
//! | `message_echoes[]` | `message.rs` | `echo:WAMID` | as above, outgoing |
//! | `statuses[]` | `status.rs` | `WAMID:STATUS`, in groups `WAMID:STATUS:PARTICIPANT` | moves a status |
//! | `calls[]`, their statuses | `notice.rs` | `call:ID:EVENT` | notice |
//! | `automatic_events[]` | `notice.rs` | `auto:ID:NAME` | notice |
//! | `history[]` | `history.rs` | `history:WAMID` | as above, quiet; and one notice |
//! | whatever stands in a change of `standby` | `lists.rs` | `standby:KEY` | notice |
//! | every other list, or a change of any other field | `notice.rs` | `NAME:HASH` | notice |
//!
//! `envelope.rs` walks down to the lists. An item is rejected for what it is made of (its id, and the texts and objects
//! that we take its content and target from); what only describes it (the sender's name, a time) is left out if it is odd.

mod amendment;
mod content;
mod envelope;
mod history;
mod lists;
mod message;
mod notice;
mod people;
mod shared;
mod status;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Handshake, Request, Sample, Setting, Verdict,
    meta::{self, SIGNATURE},
    request::Signed,
    rules::Rules,
};
pub(crate) use envelope::{Shape, split};

/// Meta's WhatsApp Cloud API.
pub(crate) struct WhatsApp;

const ABOUT: About = About {
    name: "whatsapp",
    title: "WhatsApp Cloud API",
    page: "https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview",
    secret: meta::SECRET,
    url: "developers.facebook.com, your app, WhatsApp, Configuration, Callback URL; then subscribe to `messages`",
    verify_token: Some(meta::VERIFY_TOKEN),
    signature: meta::SIGNED,
    key: KEY,
    repeats_for: Some(Duration::from_hours(7 * 24)),
    kept_headers: &[SIGNATURE.header],
    body_limit: BODY_LIMIT,
    settings: &[PHONE_NUMBER],
};

/// What keys are made of, for people.
pub(crate) const KEY: &str = "the id of each item (`wamid`, `wamid:status`); its content where it has none";

/// Meta documents 3 MB as the largest payload.
pub(crate) const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// Takes only this number's items: an app's numbers share one secret, so another number's can be sent here.
pub(crate) const PHONE_NUMBER: Setting = Setting {
    name: PHONE_NUMBER_ID,
    does: "quarantines what is for another phone number: an app's numbers share one secret",
    expected: "1 to 32 digits in a string, as Meta's app dashboard shows the phone number's id (not the number)",
    needed: false,
    takes: |value| value.as_str().is_some_and(is_number_id),
};

/// The number's id, in settings and in a change's `metadata`.
const PHONE_NUMBER_ID: &str = "phone_number_id";

/// The number itself, as people write it.
const DISPLAY_PHONE_NUMBER: &str = "display_phone_number";

impl Rules for WhatsApp {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        SIGNATURE.verify(&source.secrets, request)
    }

    fn handshake(&self, source: &Source, query: &[(String, String)]) -> Handshake {
        meta::handshake(source, query)
    }

    fn split(&self, source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        split(source, raw_event, Shape::Entries)
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        let change = json!({"field": "messages", "value": sample_value(source, sample)});
        let body =
            json!({"object": "whatsapp_business_account", "entry": [{"id": "102290129340398", "changes": [change]}]})
                .to_string();
        let tag = SIGNATURE.sign(source.secrets.first()?.expose_secret(), body.as_bytes());
        Signed::json(body, &[(SIGNATURE.header, &tag)])
    }
}

/// The value of a change with one message, to the source's own number.
pub(crate) fn sample_value(source: &Source, sample: &Sample<'_>) -> Value {
    let (id, seconds) = (sample.id, sample.now.timestamp().to_string());
    let number = source.settings.get(PHONE_NUMBER_ID).and_then(Value::as_str).unwrap_or("106540352242922");
    json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": number},
        "contacts": [{"profile": {"name": "latchhook"}, "wa_id": "16505551234"}],
        "messages": [{"from": "16505551234", "id": format!("wamid.test-{id}"), "timestamp": seconds,
            "type": "text", "text": {"body": "A sample, sent by latchhook source test"}}],
    })
}

fn is_number_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}
