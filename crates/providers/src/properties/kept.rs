//! What is kept of an item: bytes of the body, a key, what it does, or why not.

use std::fmt::{self, Write};

use bytes::Bytes;
use serde_json::{Value, value::RawValue};
use vocabulary::{Effect, Event, Item, Key, Rejection};

use crate::reason;

const REASONS: [&str; 9] = [
    reason::NOT_JSON,
    reason::NOT_UTF8,
    reason::WRONG_TYPE,
    reason::MISSING_ID,
    reason::UNUSABLE_ID,
    reason::TOO_DEEP,
    reason::TOO_MANY,
    reason::UNREADABLE_NUMBER,
    reason::ANOTHER_PHONE_NUMBER,
];

/// Bytes that an item may be given by what stands around it: whom it is from, in which thread, where it is.
const SHARED: usize = 32 * 1024;
/// How much larger a text may be in Rust's notation than it was in JSON's.
const NOTATION: usize = 32;

/// Every item's bytes are a part of the body itself, and of two items' bytes none are the same.
pub(crate) fn are_slices_of(body: &Bytes, items: &[Item]) {
    let mut parts: Vec<_> = items.iter().map(raw).filter(|raw| !raw.is_empty()).map(|raw| raw.as_ptr_range()).collect();
    parts.sort_by_key(|part| part.start);
    let whole = body.as_ptr_range();
    assert!(parts.iter().all(|part| whole.start <= part.start && part.end <= whole.end), "a part of the body");
    assert!(parts.windows(2).all(|pair| pair[0].end <= pair[1].start), "no byte belongs to two items");
}

/// An item can be kept. It is as large as its own bytes call for, not as what stands beside it.
pub(super) fn is_sound(item: &Item) {
    let kept = match item {
        Ok(event) => {
            is_storable(event);
            size_of((&event.key, &event.kind, &event.effect))
        }
        Err(Rejection { reason, detail, .. }) => {
            assert!(REASONS.contains(reason), "a reason to group by: {reason}");
            assert!(detail.len() <= 4096, "a detail that can be shown: {} bytes", detail.len());
            detail.len()
        }
    };
    let limit = SHARED + NOTATION * raw(item).len();
    assert!(kept <= limit, "{kept} bytes are kept of an item of {}: {}", raw(item).len(), start_of(item));
}

/// An event can be written as it is, found by its key, and read again.
pub(crate) fn is_storable(event: &Event) {
    let Event { key, kind, effect, raw, raw_is_json, .. } = event;
    assert!(!raw_is_json || serde_json::from_slice::<&RawValue>(raw).is_ok(), "JSON where it is said to be: {raw:?}");
    assert_eq!(Key::new(key.as_str()).as_ref(), Ok(key));
    assert!((1..=128).contains(&kind.chars().count()) && !kind.contains('\0'), "a kind that a column takes: {kind:?}");
    if let Effect::Message(message) = effect {
        let json = serde_json::to_string(message).expect("JSON of what was JSON");
        // What we keep is read again as part of a row, and of a payload.
        let larger = format!("{}{json}{}", "[".repeat(16), "]".repeat(16));
        assert!(serde_json::from_str::<Value>(&larger).is_ok(), "what is kept can be read again: {json}");
    }
}

fn raw(item: &Item) -> &Bytes {
    match item {
        Ok(event) => &event.raw,
        Err(rejection) => &rejection.raw,
    }
}

/// How long it is in Rust's notation, which is not written anywhere.
fn size_of(kept: impl fmt::Debug) -> usize {
    struct Length(usize);
    impl Write for Length {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }
    let mut length = Length(0);
    let _ = write!(length, "{kept:?}");
    length.0
}

fn start_of(item: &Item) -> String {
    String::from_utf8_lossy(raw(item)).chars().take(200).collect()
}
