//! Messenger and Instagram: what people write to a page, or to a professional account.
//!
//! Both have Meta's signature and handshake, and the same items; only the word in `object` differs. One request holds entries
//! (pages, accounts), and an entry holds lists of items. What becomes of each:
//!
//! | item | key | effect |
//! |---|---|---|
//! | `message` | `MID` | a new message, of kind `message` |
//! | … with `is_echo` | `echo:MID` | the same, outgoing |
//! | … with `is_deleted` | `deleted:MID` | revokes that message |
//! | `message_edit` | `edit:MID:NUMBER` | edits that message |
//! | `reaction` | `reaction:HASH` | reacts to that message, or takes it back |
//! | `read` that names a message (Instagram) | `MID:read` | moves a status |
//! | `postback`, `delivery`, `read` up to a moment, and all others | `NAME:HASH` | notice |
//! | whatever stands in `standby` | `standby:KEY` | notice |
//! | a change, unless it holds one of the above | `FIELD:HASH` | notice |
//!
//! Messages are messages, and not notices, because nothing of them is lost that way: text, attachments, what they answer and
//! the advertisement have a place of their own, and the rest is kept among the details. Deliveries and reads of Messenger are
//! notices, because they are of all messages up to a moment, and a status is of one.
//!
//! Traps, each with a test:
//! * A deletion, an edit and a reaction carry the id of the message that they are about: by that alone, each would be taken
//!   for the message once more.
//! * The id of a postback may be that of the message whose button was pressed, and a button can be pressed twice, or two of
//!   one message at one moment: it is known by all that it says.
//! * The `time` of an entry is when Meta sent it, says the Graph API's page, so that a redelivery may have another: a key made
//!   of it would tell an event twice. Without it none is lost: what these items are about has a time or an id of its own.
//!   WhatsApp's notices have neither, and there this time is part of the key (whatsapp/notice.rs).
//! * An app has one URL for all of its pages or accounts: give it one source.

mod envelope;
mod item;
#[cfg(test)]
mod tests;

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Handshake, Request, Sample, Verdict,
    meta::{self, SIGNATURE},
    request::Signed,
    rules::Rules,
};

/// One of the two.
pub(crate) struct Messenger {
    about: &'static About,
    /// What its bodies say that they are about.
    object: &'static str,
}

/// People who write to a page.
pub(crate) const MESSENGER: Messenger = Messenger { about: &OF_PAGES, object: "page" };
/// People who write to an Instagram account.
pub(crate) const INSTAGRAM: Messenger = Messenger { about: &OF_INSTAGRAM, object: "instagram" };

const OF_PAGES: About = About {
    name: "messenger",
    title: "Messenger",
    page: "https://developers.facebook.com/documentation/business-messaging/messenger-platform/webhooks",
    secret: meta::SECRET,
    url: "developers.facebook.com, your app, Messenger, Webhooks, Callback URL; then subscribe each page to the fields",
    verify_token: Some(meta::VERIFY_TOKEN),
    signature: meta::SIGNED,
    key: "the id of a message (`mid`), with what was done to it; the content of an item that has none",
    // Of its webhooks in general (Graph API, Webhooks, Getting started).
    repeats_for: Some(Duration::from_hours(36)),
    kept_headers: &[SIGNATURE.header],
    // It names no limit.
    body_limit: 3 * 1024 * 1024,
    settings: &[],
};

const OF_INSTAGRAM: About = About {
    name: "instagram",
    title: "Instagram",
    page: "https://developers.facebook.com/documentation/instagram-platform/webhooks",
    url: "developers.facebook.com, your app, Webhooks, Instagram, Callback URL; then subscribe each account to the fields",
    ..OF_PAGES
};

impl Rules for Messenger {
    fn about(&self) -> &'static About {
        self.about
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        SIGNATURE.verify(&source.secrets, request)
    }

    fn handshake(&self, source: &Source, query: &[(String, String)]) -> Handshake {
        meta::handshake(source, query)
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        envelope::split(self.object, raw_event)
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        let now = sample.now.timestamp_millis();
        let message = json!({"sender": {"id": "1"}, "recipient": {"id": "2"}, "timestamp": now, "message": {
            "mid": format!("m_test-{}", sample.id), "text": "A sample, sent by latchhook source test"}});
        let entry = json!({"id": "2", "time": now, "messaging": [message]});
        let body = json!({"object": self.object, "entry": [entry]}).to_string();
        let tag = SIGNATURE.sign(source.secrets.first()?.expose_secret(), body.as_bytes());
        Signed::json(body, &[(SIGNATURE.header, &tag)])
    }
}
