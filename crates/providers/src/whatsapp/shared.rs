//! What items take from whatever stands around them: the account, the number, the thread, the author's name.
//!
//! Each item takes a copy, and a body holds tens of thousands of items. So what is shared must be short, whoever wrote it: a
//! name of a megabyte beside 20,000 messages would be kept 20,000 times, and the worker with it would be killed.

use std::fmt::Write;

use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::json::canonical;

/// Bytes. No provider's id, name or number has a tenth of that.
const MAX: usize = 1024;

/// Whether a text is short enough to be given to every item.
pub(super) fn is_short(text: &str) -> bool {
    text.len() <= MAX
}

/// Whether a value is.
pub(super) fn is_short_json(value: &Value) -> bool {
    is_short(&canonical(value))
}

/// The value itself if it is short, else its digest, which tells it from others as well.
pub(super) fn shortened(value: Value) -> Value {
    let text = canonical(&value);
    if is_short(&text) { value } else { sha256(&text).into() }
}

/// An object with each of its values short.
pub(super) fn with_short_members(value: Value) -> Value {
    match value {
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, shortened(value))).collect(),
        other => other,
    }
}

/// In hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
