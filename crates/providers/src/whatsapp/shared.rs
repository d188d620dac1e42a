//! What items take from whatever stands around them: the account, the number, the thread, the author's name.
//!
//! Each item takes a copy, and a body holds tens of thousands of items. So what is shared must be short, whoever wrote it: a
//! name of a megabyte beside 20,000 messages would be kept 20,000 times, and the worker with it would be killed.

use std::mem::take;

use crate::{
    json::{Json, canonical},
    single::sha256,
};

/// Bytes. No provider's id, name or number has a tenth of that.
const MAX: usize = 1024;

/// Whether a text is short enough to be given to every item.
pub(super) fn is_short(text: &str) -> bool {
    text.len() <= MAX
}

/// Whether a value is.
pub(super) fn is_short_json(value: &Json<'_>) -> bool {
    is_surely_short(value) || is_short(&canonical(value))
}

/// Whether a value is short however it is written: of a text, no byte takes more than the six of `\u0000`.
fn is_surely_short(value: &Json<'_>) -> bool {
    match value {
        Json::Text(text) => text.len() <= (MAX - 2) / 6,
        Json::Number(digits) => is_short(digits),
        Json::Array(_) | Json::Object(_) | Json::Mended(..) => false,
        Json::Null | Json::Bool(_) => true,
    }
}

/// The value itself if it is short, else its digest, which tells it from others as well.
pub(super) fn shortened(value: Json<'_>) -> Json<'_> {
    if is_surely_short(&value) {
        return value;
    }
    let text = canonical(&value);
    if is_short(&text) { value } else { Json::Text(sha256(&text).into()) }
}

/// An object with these of its members alone, each of them short: every item looks for them, and there may be many others.
pub(super) fn with_short_members<'t>(value: Json<'t>, names: &[&str]) -> Json<'t> {
    let Json::Object(mut members) = value else { return value };
    let short = |name: &&str| {
        let (name, value) = members.iter_mut().rfind(|(known, _)| known == name)?;
        Some((take(name), shortened(take(value))))
    };
    Json::Object(names.iter().filter_map(short).collect())
}
