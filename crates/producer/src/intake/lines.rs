//! What an app sends in one request: one raw event as it is, or many as NDJSON, one a line.
//!
//! A line is a JSON object. `body` is the raw event's body: of a string its text, of any other JSON value the bytes as they
//! stand in the line. `body_base64` is for bytes that are neither. `headers` are those that came with it; the ones that the
//! provider needs are kept, as at the door for providers.

use std::borrow::Cow;

use axum::http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use providers::Door;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::line_headers::LineHeaders;

/// The most bytes of a request with many lines.
const MOST_BYTES: usize = 8 << 20;
/// What is said of a line is not longer than a line of text.
const LONGEST_REASON: usize = 200;

/// How the body of a request is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// All of it is one raw event.
    Single,
    /// `application/x-ndjson`: each line is one.
    Lines,
}

/// A raw event's headers and body.
pub(super) type Part = (Vec<(String, String)>, Bytes);

/// Why a line is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LineError {
    /// What a request of this line alone would be answered with.
    pub(super) status: StatusCode,
    pub(super) message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
    #[serde(borrow, default)]
    body_base64: Option<Cow<'a, str>>,
    #[serde(default)]
    headers: LineHeaders,
}

impl Form {
    /// As the request says: `application/x-ndjson`, whatever its parameters, or anything else.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim();
        let is_lines = ["application/x-ndjson", "application/ndjson"].iter().any(|it| essence.eq_ignore_ascii_case(it));
        if is_lines { Self::Lines } else { Self::Single }
    }

    /// As the hash of a request is told it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Lines => "lines",
        }
    }

    /// The most bytes of a request of this form, where a raw event's body may have so many.
    pub(super) fn limit(self, of_a_body: usize) -> usize {
        match self {
            Self::Single => of_a_body,
            Self::Lines => MOST_BYTES,
        }
    }
}

/// The lines of a body. The end of the last line begins no further one.
pub(super) fn split(body: &Bytes) -> impl Iterator<Item = Bytes> {
    let whole = body.strip_suffix(b"\n").unwrap_or(body);
    whole.split(|byte| *byte == b'\n').map(|line| body.slice_ref(line))
}

/// Reads one line, as the door of its source has it.
pub(super) fn read(line: &Bytes, door: &Door<'_>) -> Result<Part, LineError> {
    let text = str::from_utf8(line).map_err(|_| unreadable("the line is not UTF-8: send such bytes as body_base64"))?;
    if text.trim_ascii().is_empty() {
        return Err(unreadable("the line is empty"));
    }
    // Else an array would be read as the members in their order.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(unreadable("the line is no JSON object"));
    }
    let parsed: Line<'_> = serde_json::from_str(text).map_err(|error| no_line(&error))?;
    let body = match (parsed.body, parsed.body_base64) {
        (Some(body), None) => body_of(line, body)?,
        (None, Some(base64)) => {
            BASE64.decode(base64.as_bytes()).map_err(|_| unreadable("body_base64 is no base64 (RFC 4648, 4)"))?.into()
        }
        (Some(_), Some(_)) => return Err(unreadable("body and body_base64 exclude each other: send one of them")),
        (None, None) => return Err(unreadable("there is neither body nor body_base64")),
    };
    check(&body, door)?;
    let kept = parsed.headers.kept(&door.kept_headers).map_err(|message| unreadable(&message))?;
    Ok((kept, body))
}

/// Refuses a raw event's body that is none, or has more bytes than its source takes.
pub(super) fn check(body: &Bytes, door: &Door<'_>) -> Result<(), LineError> {
    if body.is_empty() {
        return Err(unreadable("the body is empty"));
    }
    door.check(body.len())
        .map_err(|error| LineError { status: StatusCode::PAYLOAD_TOO_LARGE, message: error.to_string() })
}

fn body_of(line: &Bytes, body: &RawValue) -> Result<Bytes, LineError> {
    if !body.get().starts_with('"') {
        return Ok(line.slice_ref(body.get().as_bytes()));
    }
    let text: String = serde_json::from_str(body.get()).map_err(|error| no_line(&error))?;
    Ok(text.into())
}

fn unreadable(message: &str) -> LineError {
    LineError { status: StatusCode::UNPROCESSABLE_ENTITY, message: message.chars().take(LONGEST_REASON).collect() }
}

/// serde_json counts lines too, and knows of one.
fn no_line(error: &serde_json::Error) -> LineError {
    let text = error.to_string().replace(" at line 1 column ", ", at column ");
    unreadable(&format!("the line is no {{\"body\": …, \"headers\": {{…}}}}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOOR: Door<'static> = Door { most: 1000, kept_headers: Vec::new() };

    fn line(text: &str) -> Result<Part, LineError> {
        read(&Bytes::copy_from_slice(text.as_bytes()), &DOOR)
    }

    fn body(text: &str) -> Bytes {
        line(text).unwrap().1
    }

    #[test]
    fn a_body_is_a_strings_text_or_the_bytes_of_any_other_value_or_base64() {
        assert_eq!(body(r#"{"body": "{\"a\": \"\u00fc\\n\"}"}"#), "{\"a\": \"\u{fc}\\n\"}");
        assert_eq!(body(r#" {"body":  { "b": 1.50,  "a" : [ ]} } "#), r#"{ "b": 1.50,  "a" : [ ]}"#);
        assert_eq!(body("{\"body\": [1e2]}\r"), "[1e2]");
        assert_eq!(body(r#"{"body_base64": "/wA="}"#).as_ref(), b"\xff\0");
    }

    #[test]
    fn of_the_headers_those_are_kept_that_the_provider_needs() {
        let door = Door { kept_headers: vec!["x-hub-signature-256"], ..DOOR };
        let text = r#"{"body": 1, "headers": {"X-Hub-Signature-256": "sha256=00", "Other": "x"}}"#;

        let (headers, _) = read(&Bytes::from_static(text.as_bytes()), &door).unwrap();

        assert_eq!(headers, [("x-hub-signature-256".to_owned(), "sha256=00".to_owned())]);
    }

    #[test]
    fn what_is_no_line_is_refused_in_words_that_say_why() {
        let wrong = [
            ("", "the line is empty"),
            ("[]", "the line is no"),
            ("[1]", "the line is no JSON object"),
            ("{\"body\": 1", "at column 10"),
            ("{\"body\": 1} {}", "trailing characters"),
            (r#"{"body": 1, "body": 2}"#, "duplicate field `body`"),
            (r#"{"body": 1, "bodie": 2}"#, "unknown field `bodie`"),
            (r#"{"body": 1, "headers": {"a": 1}}"#, "expected a string"),
            (r#"{"headers": {}}"#, "there is neither body nor body_base64"),
            (r#"{"body": null}"#, "there is neither body nor body_base64"),
            (r#"{"body": 1, "body_base64": "AA=="}"#, "exclude each other"),
            (r#"{"body_base64": "AA"}"#, "no base64"),
            (r#"{"body": ""}"#, "the body is empty"),
            (r#"{"body": "\ud800"}"#, "the line is no"),
        ];

        for (text, why) in wrong {
            let error = line(text).unwrap_err();
            assert!(error.message.contains(why), "{text}: {}", error.message);
            assert_eq!(error.status, StatusCode::UNPROCESSABLE_ENTITY);
        }
        assert!(read(&Bytes::from_static(b"{\"body\": \"\xff\"}"), &DOOR).unwrap_err().message.contains("UTF-8"));
        assert!(line(&format!("{{\"body\": \"{}\"}}", "x".repeat(1000))).is_ok());
        let long = line(&format!("{{\"body\": \"{}\"}}", "x".repeat(1001))).unwrap_err();
        assert_eq!(long.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(long.message, "the body has 1001 bytes, of 1000 that this source takes");
    }

    #[test]
    fn each_line_counts_and_the_end_of_the_last_begins_no_other() {
        let count = |text: &'static str| split(&Bytes::from_static(text.as_bytes())).count();

        assert_eq!((count("a"), count("a\n"), count("a\n\nb"), count("a\n\n"), count("")), (1, 1, 3, 2, 1));
    }

    #[test]
    fn many_lines_are_what_says_so() {
        let form = |value: &'static str| Form::of(&[(CONTENT_TYPE, value.parse().unwrap())].into_iter().collect());

        assert_eq!(form("application/x-ndjson"), Form::Lines);
        assert_eq!(form("Application/X-NDJSON; charset=utf-8"), Form::Lines);
        assert_eq!((form("application/json"), Form::of(&HeaderMap::new())), (Form::Single, Form::Single));
    }
}
