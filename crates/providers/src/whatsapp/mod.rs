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
mod tests;

pub(crate) use envelope::split;

use http::HeaderMap;
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use vocabulary::Source;

use crate::{
    Handshake, Provider, SettingsError, Verdict,
    signature::{self, HexHmac},
};

/// Meta documents 3 MB as the largest payload.
pub(crate) const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// The signature, so that what is kept can be verified once more.
pub(crate) const KEPT_HEADERS: &[&str] = &[SIGNATURE.header];

const SIGNATURE: HexHmac = HexHmac { header: "x-hub-signature-256", prefix: "sha256=" };

/// Takes only this number's items: an app's numbers share one secret, so another number's can be sent here.
const PHONE_NUMBER_ID: &str = "phone_number_id";

/// The number itself, as people write it.
const DISPLAY_PHONE_NUMBER: &str = "display_phone_number";

pub(crate) fn verify(source: &Source, headers: &HeaderMap, body: &[u8]) -> Verdict {
    SIGNATURE.verify(&source.secrets, headers, body)
}

/// Meta's subscription handshake: whoever knows the verify token gets the challenge back.
pub(crate) fn handshake(source: &Source, query: &[(String, String)]) -> Handshake {
    let expected = source.verify_token.as_ref().map(ExposeSecret::expose_secret);
    match (only(query, "hub.mode"), only(query, "hub.verify_token"), only(query, "hub.challenge"), expected) {
        (Some("subscribe"), Some(given), Some(challenge), Some(expected)) if signature::same(given, expected) => {
            Handshake::Answer(challenge.to_owned())
        }
        _ => Handshake::Refused,
    }
}

/// The value of a parameter that is there once, and not empty: a blank token would match a blank one.
fn only<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    let mut values = query.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
    let value = values.next().filter(|value| !value.is_empty())?;
    values.next().is_none().then_some(value)
}

pub(crate) fn check_settings(settings: &Map<String, Value>) -> Result<(), SettingsError> {
    if let Some(field) = settings.keys().find(|field| *field != PHONE_NUMBER_ID) {
        let (provider, known) = (Provider::WhatsApp, PHONE_NUMBER_ID);
        return Err(SettingsError::Unknown { provider, field: field.clone(), known });
    }
    match settings.get(PHONE_NUMBER_ID) {
        None => Ok(()),
        Some(Value::String(digits)) if is_number_id(digits) => Ok(()),
        Some(_) => Err(SettingsError::Value {
            field: PHONE_NUMBER_ID,
            expected: "1 to 32 digits in a string, as Meta's app dashboard shows the phone number's id (not the number)",
        }),
    }
}

fn is_number_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}
