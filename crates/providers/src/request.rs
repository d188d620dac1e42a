//! A request as the door has it, and what may be said of it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;

/// What came, whole.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// Its headers.
    pub headers: &'r HeaderMap,
    /// Its query, decoded.
    pub query: &'r [(String, String)],
    /// Its body, byte for byte.
    pub body: &'r [u8],
    /// When it came, by the door's clock: what was signed long ago is no longer taken.
    pub now: DateTime<Utc>,
}

/// Whether a request comes from whom it says it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// One of the source's secrets signed exactly these bytes.
    Genuine,
    /// Not so. One of a few phrases, for logs and counters: the sender is never told which.
    Forged(&'static str),
}

/// What to answer to a provider that asks whether we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handshake {
    /// Answer 200 with this text and nothing around it.
    Answer(String),
    /// Answer 403.
    Refused,
    /// The provider has no handshake.
    None,
}

/// An answer in the provider's own terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200, or another that it takes for success.
    pub status: u16,
    /// What the body is; `None` where there is none.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Bytes,
}

impl<'r> Request<'r> {
    /// A POST without a query.
    pub fn posted(headers: &'r HeaderMap, body: &'r [u8], now: DateTime<Utc>) -> Self {
        Self { headers, query: &[], body, now }
    }
}

impl Answer {
    /// 200 with nothing.
    pub const OK: Self = Self::empty(200);

    /// Nothing but a status.
    pub const fn empty(status: u16) -> Self {
        Self { status, content_type: None, body: Bytes::new() }
    }

    /// 200 with a text.
    pub fn text(body: impl Into<Bytes>) -> Self {
        Self { status: 200, content_type: Some("text/plain"), body: body.into() }
    }

    /// 200 with JSON.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self { status: 200, content_type: Some("application/json"), body: body.into() }
    }
}

/// What makes a sample differ from others: the same gives the same request.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'s> {
    /// What its ids are made of: letters, digits and `-`.
    pub id: &'s str,
    /// When it is signed.
    pub now: DateTime<Utc>,
}

/// Why there is no sample of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSample {
    /// The source knows what verifies, and the sender alone what signs.
    #[error("only the sender itself can sign")]
    OnlyTheSenders,
    /// What should sign is not what it must be.
    #[error("nothing can be signed with the secret that the source has")]
    Unusable,
}

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Its headers.
    pub headers: HeaderMap,
    /// What stands behind the path, with the `?`; mostly nothing.
    pub query: String,
    /// Its body.
    pub body: Bytes,
}

impl Signed {
    /// JSON with one header that vouches for it.
    pub(crate) fn json(body: impl Into<Bytes>, headers: &[(&'static str, &str)]) -> Option<Self> {
        let mut map = HeaderMap::new();
        map.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            map.insert(*name, value.parse().ok()?);
        }
        Some(Self { headers: map, query: String::new(), body: body.into() })
    }
}
