//! What all of Meta's webhooks share, whatever they are about.

use secrecy::ExposeSecret;
use vocabulary::{Effect, Event, Item, Key, Rejection, Source};

use crate::{
    Handshake,
    hex_headers::HexHmac,
    reason,
    signature::{self, only_parameter},
};

/// Over the bytes as they came. Meta escapes what is no ASCII before it signs, so what was parsed and written again does not
/// fit.
pub(crate) const SIGNATURE: HexHmac = HexHmac { header: "x-hub-signature-256", prefix: "sha256=" };
/// What is signed, for people.
pub(crate) const SIGNED: &str = "X-Hub-Signature-256: HMAC-SHA256 of the body, hexadecimal";
/// What its secret is, and where it is shown.
pub(crate) const SECRET: &str = "the app secret: developers.facebook.com, your app, App settings, Basic";
/// What the handshake must show.
pub(crate) const VERIFY_TOKEN: &str =
    "a word of your own: choose one, and give Meta the same as Verify token beside the callback URL";

/// The handshake of a subscription: whoever knows the verify token gets the challenge back.
pub(crate) fn handshake(source: &Source, query: &[(String, String)]) -> Handshake {
    let expected = source.verify_token.as_ref().map(ExposeSecret::expose_secret);
    match (asked(query, "hub.mode"), asked(query, "hub.verify_token"), asked(query, "hub.challenge"), expected) {
        (Some("subscribe"), Some(given), Some(challenge), Some(expected)) if signature::same(given, expected) => {
            Handshake::Answer(challenge.to_owned())
        }
        _ => Handshake::Refused,
    }
}

/// Not an empty one: a blank token would match a blank one.
fn asked<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    only_parameter(query, name).ok().filter(|value| !value.is_empty())
}

/// A copy of what another app handles (`standby`): told, but it makes no message of its own.
///
/// # Errors
/// When its key is then too long.
pub(crate) fn standby(event: Event) -> Item {
    match Key::new(format!("standby:{}", event.key)) {
        Ok(key) => Ok(Event { key, kind: "standby".into(), effect: Effect::Notice, ..event }),
        Err(error) => {
            Err(Rejection { reason: reason::UNUSABLE_ID, detail: error.to_string(), raw: event.raw, whole: false })
        }
    }
}
