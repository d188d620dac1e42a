//! What is wrong with a part of a body.

use std::fmt::Display;

use bytes::Bytes;
use vocabulary::Rejection;

use super::Json;
use crate::reason;

/// What is wrong with a part, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// One of [`reason`].
    pub reason: &'static str,
    /// Path and particulars.
    pub detail: String,
}

impl Fault {
    /// `entry[0].changes: what is wrong with it`.
    pub(crate) fn at(path: impl Display, reason: &'static str, what: impl Display) -> Self {
        Self { reason, detail: format!("{path}: {what}") }
    }

    /// Something has another type than it must have.
    pub(crate) fn wrong_type(path: impl Display, expected: &str, found: &str) -> Self {
        Self::at(path, reason::WRONG_TYPE, format_args!("expected {expected}, found {found}"))
    }

    /// The item cannot become an event.
    pub(crate) fn rejects_item(self, raw: Bytes) -> Rejection {
        Rejection { reason: self.reason, detail: self.detail, raw, whole: false }
    }

    /// The body cannot be split.
    pub(crate) fn rejects_body(self, body: Bytes) -> Rejection {
        Rejection { reason: self.reason, detail: self.detail, raw: body, whole: true }
    }
}

/// What JSON calls the type of a value.
pub(super) fn type_of(value: &Json<'_>) -> &'static str {
    match value {
        Json::Null => "nothing",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::Text(_) | Json::Mended(..) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}
