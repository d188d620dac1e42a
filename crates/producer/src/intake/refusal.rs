//! Every way to say no, and what the sender is told: what is wrong with the request, and nothing about us.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Why a request is not answered with 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// 400: the body broke off, or is no HTTP.
    Broken,
    /// 401: no signature, or not over these bytes with a secret of the source.
    Signature,
    /// 403: the handshake shows the wrong token, or the provider has none.
    Handshake,
    /// 404: no such source, or a disabled one.
    NoSuchSource,
    /// 405: neither GET nor POST.
    Method,
    /// 408: the body did not come in time.
    TooSlow,
    /// 413: the body is above what the source's provider sends.
    TooLarge,
    /// 503: no snapshot of the sources that is fresh enough to say who exists.
    Stale,
    /// 503: the source's provider is unknown to this binary; an older one among newer ones.
    UnknownProvider,
    /// 503: too many bodies are in memory, or wait for Redis.
    Busy,
    /// 503: Redis is above 75 % of its memory.
    RedisFull,
    /// 503: Redis does not answer, or has not confirmed the raw event.
    RedisDown,
}

impl Refusal {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 12] = [
        Self::Broken,
        Self::Signature,
        Self::Handshake,
        Self::NoSuchSource,
        Self::Method,
        Self::TooSlow,
        Self::TooLarge,
        Self::Stale,
        Self::UnknownProvider,
        Self::Busy,
        Self::RedisFull,
        Self::RedisDown,
    ];

    /// A word for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Signature => "signature",
            Self::Handshake => "handshake",
            Self::NoSuchSource => "no_such_source",
            Self::Method => "method",
            Self::TooSlow => "too_slow",
            Self::TooLarge => "too_large",
            Self::Stale => "stale",
            Self::UnknownProvider => "unknown_provider",
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
            Self::Signature => (StatusCode::UNAUTHORIZED, "the signature is missing or not over these bytes"),
            Self::Handshake => (StatusCode::FORBIDDEN, "the handshake does not show this source's token"),
            Self::NoSuchSource => (StatusCode::NOT_FOUND, "no such source"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "only GET and POST are taken here"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than this source takes"),
            Self::Stale | Self::UnknownProvider | Self::Busy | Self::RedisFull | Self::RedisDown => {
                (StatusCode::SERVICE_UNAVAILABLE, "not taken, try again later")
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error) = self.told();
        let mut response = (status, Json(json!({ "error": error }))).into_response();
        let headers = response.headers_mut();
        match status {
            // Spread, so that everybody who was refused at one moment does not come back at one moment.
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(rand::random_range(1..=5_u16)));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            }
            _ => {}
        }
        response
    }
}
