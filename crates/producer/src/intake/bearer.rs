//! Whether a request shows a token of its source (RFC 6750, 2.1: `Authorization: Bearer <token>`).

use axum::http::{HeaderMap, header::AUTHORIZATION};
use vocabulary::{Source, bearer};

/// A source without tokens is shown none.
pub(super) fn is_shown(source: &Source, headers: &HeaderMap) -> bool {
    let token = bearer(headers.get_all(AUTHORIZATION).iter().map(|value| value.to_str().ok()));
    token.is_some_and(|token| source.tokens.iter().any(|hash| hash.is_of(token.as_bytes())))
}
