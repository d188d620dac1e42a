//! What a source of this kind is told.

use serde_json::Value;

use crate::{Setting, settings::is_header};

const fn setting(name: &'static str, does: &'static str, expected: &'static str, takes: fn(&Value) -> bool) -> Setting {
    Setting { name, does, expected, needed: false, takes }
}

const HEADER: &str = "the name of a header, in lower case";
const POINTER: &str = "a JSON pointer (RFC 6901), which begins with /";
const TEXT: &str = "a text that is not empty";

/// All of them. Which go together is `recipe.rs`'s to say.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        needed: true,
        ..setting(
            "algorithm",
            "how it is signed; `equal` compares a token",
            "hmac-sha256, hmac-sha1, hmac-sha512, ed25519, ecdsa-p256, rsa-sha256 or equal",
            |value| {
                is_one_of(
                    value,
                    &["hmac-sha256", "hmac-sha1", "hmac-sha512", "ed25519", "ecdsa-p256", "rsa-sha256", "equal"],
                )
            },
        )
    },
    setting(
        "signed",
        "what is signed; `{body}` unless it is said",
        "a text with {body} and, where they are signed too, {timestamp}, {id}, {url}",
        is_text,
    ),
    setting("signature_header", "the header that the signature or the token is in", HEADER, is_header),
    setting("signature_query", "the parameter of the query that it is in", TEXT, is_text),
    setting(
        "encoding",
        "how the signature is written; hex unless it is said",
        "hex, or base64 of either alphabet",
        |value| is_one_of(value, &["hex", "base64"]),
    ),
    setting("form", "what stands around the signature; bare unless it is said", "bare, prefix or list", |value| {
        is_one_of(value, &["bare", "prefix", "list"])
    }),
    setting("prefix", "form prefix: what stands before it (`sha256=`)", TEXT, is_text),
    setting("list_separator", "form list: what stands between two items (`,`)", TEXT, is_text),
    setting("list_assign", "form list: what stands between an item's name and its value (`=`)", TEXT, is_text),
    setting("list_name", "form list: the name of the items that are signatures (`v1`)", TEXT, is_text),
    setting("timestamp_name", "form list: the name of the item that is the time of signing (`t`)", TEXT, is_text),
    setting("timestamp_header", "the header that the time of signing is in", HEADER, is_header),
    setting(
        "timestamp_form",
        "how that time is written; unix (seconds) unless it is said",
        "unix, unix_ms or rfc3339",
        |value| is_one_of(value, &["unix", "unix_ms", "rfc3339"]),
    ),
    setting(
        "tolerance",
        "seconds that it may be before or after now; 300 unless it is said",
        "1 to 86400 seconds",
        |value| value.as_i64().is_some_and(|seconds| (1..=86_400).contains(&seconds)),
    ),
    setting("id_header", "the header that {id} stands for", HEADER, is_header),
    setting("url", "what {url} stands for: the URL that was given to the sender, as it was given", TEXT, is_text),
    setting(
        "secret_form",
        "how a secret is written; literal for HMAC, base64 for public keys unless it is said",
        "literal, base64, hex or pem",
        |value| is_one_of(value, &["literal", "base64", "hex", "pem"]),
    ),
    setting("secret_prefix", "what stands before a secret and is no part of it (`whsec_`)", TEXT, is_text),
    setting("key_header", "the header with the event's own id", HEADER, is_header),
    setting(
        "key_pointer",
        "where in the body the event's own id is; several where one alone is shared by two events",
        "a JSON pointer (RFC 6901), which begins with /, or a list of 2 to 8: [\"/event\",\"/id\"]",
        is_one_pointer_or_several,
    ),
    setting("key_hash", "the last resort: the body is its own id, so that equal ones are one", "true", |value| {
        *value == Value::Bool(true)
    }),
    setting("kind_header", "the header that says what it is", HEADER, is_header),
    setting("kind_pointer", "where in the body that is said", POINTER, is_pointer),
    setting(
        "challenge_query",
        "the parameter that a GET is answered with, where the sender asks so whether we are there",
        TEXT,
        is_text,
    ),
    setting(
        "challenge_pointer",
        "where in a body is the text that it is answered with, where the sender asks so: what has it is no event",
        POINTER,
        is_pointer,
    ),
];

fn is_one_of(value: &Value, words: &[&str]) -> bool {
    value.as_str().is_some_and(|word| words.contains(&word))
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn is_pointer(value: &Value) -> bool {
    value.as_str().is_some_and(|pointer| pointer.starts_with('/'))
}

fn is_one_pointer_or_several(value: &Value) -> bool {
    value.as_array().map_or_else(
        || is_pointer(value),
        |pointers| (2..=8).contains(&pointers.len()) && pointers.iter().all(is_pointer),
    )
}
