//! What is told and kept of a text message: the bytes that latchhook writes, byte for byte, but for the ids it makes up.

use std::{io, io::Write};

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use uuid::Uuid;

use super::item::Item;

/// A webhook's body without its sequence number, which only the statement that inserts the event knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub head: Vec<u8>,
    pub tail: Vec<u8>,
}

/// What the statement leaves to be put between the two.
pub(super) fn whole(told: &Told, sequence: i64) -> Vec<u8> {
    let Told { head, tail } = told;
    let mut body = Vec::with_capacity(head.len() + 20 + tail.len());
    body.extend_from_slice(head);
    body.extend_from_slice(sequence.to_string().as_bytes());
    body.extend_from_slice(tail);
    body
}

/// Whose event it is, and what it is called here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub event: Uuid,
    pub message: Uuid,
    pub source: &'a str,
    pub account: &'a str,
}

/// A message as it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    external_id: &'a str,
    direction: &'a str,
    kind: &'a str,
    status: (),
    sender: Sender<'a>,
    content: &'a str,
    attachments: [(); 0],
    context: (),
    referral: (),
    details: (),
    errors: (),
    reactions: [(); 0],
    edited: bool,
    revoked: bool,
    provider_timestamp: &'a str,
}

#[derive(Serialize)]
struct Sender<'a> {
    id: &'a str,
    phone: &'a str,
    name: Option<&'a str>,
}

/// A message as the column `state` keeps it.
#[derive(Serialize)]
struct Kept<'a> {
    external_id: &'a str,
    direction: &'a str,
    kind: &'a str,
    provider_timestamp: &'a str,
    sender: Sender<'a>,
    content: &'a str,
}

impl<'a> Sender<'a> {
    fn of(item: &'a Item<'_>) -> Self {
        Self { id: &item.from, phone: &item.from, name: item.name.as_deref() }
    }
}

/// The webhook's body.
pub(super) fn body(item: &Item<'_>, names: Names<'_>) -> io::Result<Told> {
    let (time, mut id) = (time(item), [0; uuid::fmt::Hyphenated::LENGTH]);
    let mut head = Vec::with_capacity(320);
    let event = names.event.as_hyphenated().encode_lower(&mut id);
    write!(head, r#"{{"type":"message_created","timestamp":"{time}","data":{{"event_id":"{event}","source_id":"#)?;
    serde_json::to_writer(&mut head, names.source)?;
    head.extend_from_slice(br#","account_id":"#);
    serde_json::to_writer(&mut head, names.account)?;
    head.extend_from_slice(br#","key":"#);
    serde_json::to_writer(&mut head, &item.wamid)?;
    head.extend_from_slice(br#","sequence":"#);

    let shown = Shown {
        id: names.message.as_hyphenated().encode_lower(&mut id),
        external_id: &item.wamid,
        direction: "incoming",
        kind: "text",
        status: (),
        sender: Sender::of(item),
        content: &item.text,
        attachments: [],
        context: (),
        referral: (),
        details: (),
        errors: (),
        reactions: [],
        edited: false,
        revoked: false,
        provider_timestamp: &time,
    };
    let mut tail = Vec::with_capacity(512 + item.text.len() + item.raw.len());
    tail.extend_from_slice(br#","message":"#);
    serde_json::to_writer(&mut tail, &shown)?;
    tail.extend_from_slice(br#","raw":"#);
    tail.extend_from_slice(item.raw.as_bytes());
    tail.extend_from_slice(b"}}");
    Ok(Told { head, tail })
}

/// The column `state`.
pub(super) fn state(item: &Item<'_>) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Kept {
        external_id: &item.wamid,
        direction: "incoming",
        kind: "text",
        provider_timestamp: &time(item),
        sender: Sender::of(item),
        content: &item.text,
    })
}

fn time(item: &Item<'_>) -> String {
    let at = DateTime::from_timestamp(item.sent_at, 0).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::Utc;
    use providers::Provider;
    use serde_json::Map;
    use vocabulary::{Effect, Event, Message, RawEvent, Source};

    use super::{super::item::items, *};

    const TEXT: &[u8] = include_bytes!("../../../../../tests/fixtures/whatsapp/01_text.json");

    /// What latchhook makes of the same body.
    fn event() -> Event {
        let source = Source {
            id: "wa".parse().unwrap(),
            account_id: "shop".parse().unwrap(),
            name: String::new(),
            provider: "whatsapp".to_owned(),
            enabled: true,
            secrets: Vec::new(),
            verify_token: None,
            tokens: Vec::new(),
            body_limit: None,
            settings: Map::new(),
            revision: 1,
        };
        let raw_event = RawEvent {
            source_id: source.id.clone(),
            received_at: Utc::now(),
            headers: Vec::new(),
            body: Bytes::from_static(TEXT),
        };
        Provider::WhatsApp.split(&source, &raw_event).remove(0).unwrap()
    }

    fn message(event: &Event) -> Message {
        let Effect::Message(new) = &event.effect else { panic!("no message") };
        let mut message = Message::unseen(&new.external_id);
        message.arrive(event, new);
        message
    }

    #[test]
    fn the_state_is_what_latchhook_keeps() {
        let (items, _) = items(TEXT);

        let ours = String::from_utf8(state(&items[0]).unwrap()).unwrap();

        assert_eq!(ours, serde_json::to_string(&message(&event())).unwrap());
    }

    #[test]
    fn the_body_is_what_latchhook_tells() {
        let (items, event) = (items(TEXT).0, event());
        let names = Names { event: Uuid::now_v7(), message: Uuid::now_v7(), source: "wa", account: "shop" };

        let ours = String::from_utf8(whole(&body(&items[0], names).unwrap(), 42)).unwrap();

        let Names { event: event_id, message: message_id, .. } = names;
        let shown = message(&event).snapshot(&message_id.to_string()).unwrap();
        let raw = std::str::from_utf8(&event.raw).unwrap();
        // As in the worker's `payload.rs`.
        let theirs = format!(
            r#"{{"type":"message_created","timestamp":"2026-02-13T16:26:40Z","data":{{"event_id":"{event_id}","source_id":"wa","account_id":"shop","key":"wamid.HBgLmC2ePrmW9VnmM/TRlN7zdh2Qn1o7ZH0a","sequence":42,"message":{shown},"raw":{raw}}}}}"#
        );
        assert_eq!(ours, theirs);
    }
}
