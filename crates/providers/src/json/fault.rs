//! What is wrong with a part of a body.

use std::fmt::Display;

use bytes::Bytes;
use serde_json::Value;
use vocabulary::Rejection;

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
    pub(crate) fn at(path: &str, reason: &'static str, what: impl Display) -> Self {
        let path = if path.is_empty() { "the body" } else { path };
        Self { reason, detail: format!("{path}: {what}") }
    }

    /// Something has another type than it must have.
    pub(crate) fn wrong_type(path: &str, expected: &str, found: &str) -> Self {
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
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
