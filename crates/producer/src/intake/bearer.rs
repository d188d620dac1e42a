//! Whether a request shows a token of its source (RFC 6750, 2.1: `Authorization: Bearer <token>`).

use axum::http::{HeaderMap, header::AUTHORIZATION};
use vocabulary::Source;

/// A source without tokens is shown none.
pub(super) fn is_shown(source: &Source, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let shown = values.next().and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
    let token = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.as_bytes());
    // Proxies disagree on which of two headers counts, so neither does.
    values.next().is_none() && token.is_some_and(|token| source.tokens.iter().any(|hash| hash.is_of(token)))
}
