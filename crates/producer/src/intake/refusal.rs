//! Every way to say no, and what the sender is told: what is wrong with the request, and nothing about us.

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;

/// Why a request is not answered with 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// 400: the body broke off, or is no HTTP.
    Broken,
    /// 400: `Idempotency-Key` is not one text that can be a key.
    BadKey,
    /// 401: no signature, or not over these bytes with a secret of the source.
    Signature,
    /// 401: no token of the source, or the source has none.
    Token,
    /// 403: the handshake shows the wrong token, or the provider has none.
    Handshake,
    /// 404: no such source, or a disabled one.
    NoSuchSource,
    /// 405: neither GET nor POST.
    Method,
    /// 408: the body did not come in time.
    TooSlow,
    /// 409: a request under the same key is under way.
    KeyUnderWay,
    /// 413: the body is above what is taken of the source, or of a request with many lines.
    TooLarge,
    /// 413: more lines than are taken at once.
    TooManyLines,
    /// 415: the body of an app is compressed.
    Coding,
    /// 422: another request was sent under the same key.
    KeyReused,
    /// 422: nothing in the request is acceptable.
    Unreadable,
    /// 429: the apps of the source have too much on its way already.
    TooMuch,
    /// 503: no snapshot of the sources that is fresh enough to say who exists.
    Stale,
    /// 503: the source's secrets did not open where the snapshot was made, so nothing can be verified.
    Sealed,
    /// 503: the source's provider is unknown to this binary; an older one among newer ones.
    UnknownProvider,
    /// 503: the certificate that the request says it is signed with is not at hand.
    Certificate,
    /// 503: too many bodies are in memory, or wait for Redis.
    Busy,
    /// 503: Redis is above 75 % of its memory.
    RedisFull,
    /// 503: Redis does not answer, or has not confirmed the raw event.
    RedisDown,
}

impl Refusal {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 22] = [
        Self::Broken,
        Self::BadKey,
        Self::Signature,
        Self::Token,
        Self::Handshake,
        Self::NoSuchSource,
        Self::Method,
        Self::TooSlow,
        Self::KeyUnderWay,
        Self::TooLarge,
        Self::TooManyLines,
        Self::Coding,
        Self::KeyReused,
        Self::Unreadable,
        Self::TooMuch,
        Self::Stale,
        Self::Sealed,
        Self::UnknownProvider,
        Self::Certificate,
        Self::Busy,
        Self::RedisFull,
        Self::RedisDown,
    ];

    /// A word for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::BadKey => "bad_key",
            Self::Signature => "signature",
            Self::Token => "token",
            Self::Handshake => "handshake",
            Self::NoSuchSource => "no_such_source",
            Self::Method => "method",
            Self::TooSlow => "too_slow",
            Self::KeyUnderWay => "key_under_way",
            Self::TooLarge => "too_large",
            Self::TooManyLines => "too_many_lines",
            Self::Coding => "coding",
            Self::KeyReused => "key_reused",
            Self::Unreadable => "unreadable",
            Self::TooMuch => "too_much",
            Self::Stale => "stale",
            Self::Sealed => "sealed",
            Self::UnknownProvider => "unknown_provider",
            Self::Certificate => "certificate",
            Self::Busy => "busy",
            Self::RedisFull => "redis_full",
            Self::RedisDown => "redis_down",
        }
    }

    /// What the sender gets.
    pub fn status(self) -> StatusCode {
        self.told().0
    }

    fn told(self) -> (StatusCode, &'static str) {
        match self {
            Self::Broken => (StatusCode::BAD_REQUEST, "the body could not be read to its end"),
            Self::BadKey => {
                (StatusCode::BAD_REQUEST, "Idempotency-Key must be one text of 1 to 255 visible characters of ASCII")
            }
            Self::Token => {
                (StatusCode::UNAUTHORIZED, "no token of this source is shown: send it as Authorization: Bearer TOKEN")
            }
            Self::Signature => (StatusCode::UNAUTHORIZED, "the signature is missing or not over these bytes"),
            Self::Handshake => (StatusCode::FORBIDDEN, "the handshake does not show this source's token"),
            Self::NoSuchSource => (StatusCode::NOT_FOUND, "no such source"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "only GET and POST are taken here"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body has more bytes than are taken here"),
            Self::KeyUnderWay => (StatusCode::CONFLICT, "a request under this key is under way, try again later"),
            Self::TooManyLines => (StatusCode::PAYLOAD_TOO_LARGE, "more than 10,000 lines: send fewer at a time"),
            Self::Coding => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body is compressed: send it as it is, without Content-Encoding; or its bytes as body_base64 of a line",
            ),
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "another request was sent under this key, or other lines of this one were taken: take a new key for each",
            ),
            Self::Unreadable => (StatusCode::UNPROCESSABLE_ENTITY, "nothing in the request is acceptable"),
            Self::TooMuch => {
                (StatusCode::TOO_MANY_REQUESTS, "too much of this source is on its way already, try again later")
            }
            Self::Stale
            | Self::Sealed
            | Self::UnknownProvider
            | Self::Certificate
            | Self::Busy
            | Self::RedisFull
            | Self::RedisDown => (StatusCode::SERVICE_UNAVAILABLE, "not taken, try again later"),
        }
    }
}

impl Refusal {
    /// As a response that says of each of several lines what became of it.
    pub(super) fn with(self, results: &[Value]) -> Response {
        self.saying(&Said { error: self.told().1, results: Some(results) })
    }

    fn saying(self, said: &Said<'_>) -> Response {
        let mut response = (self.status(), Json(said)).into_response();
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// What the status asks for beside it.
    fn header(self) -> Option<(HeaderName, HeaderValue)> {
        match (self.status(), self) {
            // Spread, so that everybody who was refused at one moment does not come back at one moment.
            (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS | StatusCode::CONFLICT, _) => {
                Some((header::RETRY_AFTER, HeaderValue::from(rand::random_range(1..=5_u16))))
            }
            (StatusCode::METHOD_NOT_ALLOWED, _) => Some((header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"))),
            // RFC 9110, 15.5.16.
            (_, Self::Coding) => Some((header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))),
            // RFC 6750, 3.
            (_, Self::Token) => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            _ => None,
        }
    }
}

/// What a refusal says. Strangers are refused as often as they like, so it is written without a detour.
#[derive(Serialize)]
struct Said<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<&'a [Value]>,
}

/// A refusal on its way to the sender, with the number that it is to name.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) why: Refusal,
    most: Option<usize>,
}

impl Refused {
    /// [`Refusal::TooLarge`], where so many bytes would have been taken.
    pub(super) fn too_large(most: usize) -> Self {
        Self { why: Refusal::TooLarge, most: Some(most) }
    }
}

impl From<Refusal> for Refused {
    fn from(why: Refusal) -> Self {
        Self { why, most: None }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let error = match self.most {
            Some(most) => &format!("the body has more than the {most} bytes that are taken here"),
            None => self.why.told().1,
        };
        self.why.saying(&Said { error, results: None })
    }
}
