//! Every way to say no, and what the caller is told.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Why a request is not answered with 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 401: no token, or another one.
    Token,
    /// 404: no such endpoint.
    NoSuchEndpoint,
    /// 503: as many streams as there may be.
    Busy,
    /// 503: Postgres gives no answer, or one that cannot be read; the log says which.
    Unreadable,
}

impl Refusal {
    fn told(self) -> (StatusCode, &'static str) {
        match self {
            Self::Token => (
                StatusCode::UNAUTHORIZED,
                "show the API's token: Authorization: Bearer <what LATCHHOOK_API_TOKEN was when the console was started>",
            ),
            Self::NoSuchEndpoint => (StatusCode::NOT_FOUND, "no such endpoint: latchhook endpoint list names them"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too many streams are open, try again later"),
            Self::Unreadable => (StatusCode::SERVICE_UNAVAILABLE, "the endpoint cannot be read now, try again later"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error) = self.told();
        let mut response = (status, Json(json!({ "error": error }))).into_response();
        let (name, value) = match status {
            StatusCode::UNAUTHORIZED => (header::WWW_AUTHENTICATE, "Bearer"),
            StatusCode::SERVICE_UNAVAILABLE => (header::RETRY_AFTER, "5"),
            _ => return response,
        };
        response.headers_mut().insert(name, HeaderValue::from_static(value));
        response
    }
}
