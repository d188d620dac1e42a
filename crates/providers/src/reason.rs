//! Why an item was rejected: the few phrases that a [`vocabulary::Rejection`] has for a reason, so that people can group
//! by them. Where in the raw event, and what exactly, is in its detail.

/// The body is larger than its source takes, and came in at a door that does not know its source.
pub const TOO_LARGE: &str = "too large";
/// The body is no JSON object.
pub const NOT_JSON: &str = "not JSON";
/// The item holds bytes that are not UTF-8, which JSON must be (RFC 8259, section 8.1).
pub const NOT_UTF8: &str = "not UTF-8";
/// Something has another JSON type than it must have, or is missing.
pub const WRONG_TYPE: &str = "wrong type";
/// There is no id where one must be.
pub const MISSING_ID: &str = "missing id";
/// There is an id that cannot be a key: too long, or with a NUL in it.
pub const UNUSABLE_ID: &str = "unusable id";
/// The item is nested more deeply than we follow.
pub const TOO_DEEP: &str = "too deep";
/// The list is longer than any that a provider sends.
pub const TOO_MANY: &str = "too many items";
/// The item holds a number that no double can hold.
pub const UNREADABLE_NUMBER: &str = "unreadable number";
/// The item is about a phone number that is not the source's.
pub const ANOTHER_PHONE_NUMBER: &str = "another phone number";
