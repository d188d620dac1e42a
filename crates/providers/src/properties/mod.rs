//! What is true of every input, whoever made it up: asked of random ones by the tests of this crate, and of those that
//! libFuzzer breeds by `tests/fuzz`. Each function panics where its promise does not hold.

mod accounting;
mod door;
mod kept;

pub use door::{handshake, signature};
#[cfg(test)]
pub(crate) use kept::{are_slices_of, is_storable};

use bytes::Bytes;
use chrono::DateTime;
use vocabulary::{Item, RawEvent, Source};

use crate::Provider;

/// What signs in the fixtures, and here.
pub const SECRET: &str = "fixture-app-secret";
/// What the handshake must show.
pub const VERIFY_TOKEN: &str = "fixture-verify-token";

/// A source with the fixtures' secrets, and with the number if one is given.
pub fn source(phone_number_id: Option<&str>) -> Source {
    let settings = phone_number_id.map(|number| ("phone_number_id".to_owned(), number.into()));
    Source {
        id: "wa".parse().expect("an id"),
        account_id: "acme".parse().expect("an id"),
        name: "Support".into(),
        provider: "whatsapp".into(),
        enabled: true,
        secrets: vec![SECRET.into()],
        verify_token: Some(VERIFY_TOKEN.into()),
        tokens: Vec::new(),
        body_limit: None,
        settings: settings.into_iter().collect(),
        revision: 1,
    }
}

/// The items of a body; what a splitter must never do is seen not to have been done.
///
/// It does not panic, and says the same twice. No item is lost or made up ([`accounting`], where the body is JSON). No byte
/// of the body belongs to two items. What is kept of an item is no larger than the item calls for, and can be stored, found
/// by its key, and read again.
pub fn split(body: impl Into<Bytes>) -> Vec<Item> {
    let body = body.into();
    let items = split_by(&source(None), &body);

    assert_eq!(items, split_by(&source(None), &body), "the same bytes give the same items");
    if let Some(expected) = accounting::items_in(&body) {
        assert_eq!(items.len(), expected, "no item is lost, and none is made up");
    }
    kept::are_slices_of(&body, &items);
    items.iter().for_each(kept::is_sound);

    let astray = split_by(&source(Some("1")), &body);
    assert_eq!(items.len(), astray.len(), "an item has its place whosever it is");
    astray.iter().for_each(kept::is_sound);
    items
}

fn split_by(source: &Source, body: &Bytes) -> Vec<Item> {
    let raw_event = RawEvent {
        source_id: source.id.clone(),
        received_at: DateTime::UNIX_EPOCH,
        headers: Vec::new(),
        body: body.clone(),
    };
    Provider::WhatsApp.split(source, &raw_event)
}
