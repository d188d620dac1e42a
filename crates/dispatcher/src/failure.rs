//! Why an answer did not come: what an error of hyper's, of rustls's or of the system's comes down to.

use std::{error::Error, fmt, io};

use vocabulary::{chain, links};

use crate::{bounded::TooMuch, connector::ConnectError, guard::Refusal, outcome::Cause, resolver::NoPlace};

/// Characters of an error that are kept with the attempt.
const KEPT_DETAIL: usize = 300;

/// Why an answer did not come, or not whole.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing was asked of anybody.
    NoPlace(NoPlace),
    Of(Cause, Option<String>),
}

impl From<(Cause, String)> for Failure {
    fn from((cause, detail): (Cause, String)) -> Self {
        Self::Of(cause, Some(detail))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPlace(no_place) => no_place.fmt(f),
            Self::Of(_, Some(detail)) => f.write_str(detail),
            Self::Of(cause, None) => cause.fmt(f),
        }
    }
}

impl Error for Failure {}

/// What an error of hyper's is for the attempt.
pub(crate) fn failure(error: &(dyn Error + 'static)) -> Failure {
    match links(error).find_map(|error| error.downcast_ref()) {
        Some(ConnectError::Refused(Refusal::NoPlace(no_place))) => Failure::NoPlace(*no_place),
        _ => Failure::Of(cause(error), Some(detail(error))),
    }
}

/// The cause that an error from hyper comes down to.
fn cause(error: &(dyn Error + 'static)) -> Cause {
    match links(error).find_map(|error| error.downcast_ref()) {
        Some(ConnectError::Refused(refusal)) => return refusal.cause(),
        Some(ConnectError::Tls(_)) => return Cause::Tls,
        None => {}
    }
    match links(error).find_map(|error| error.downcast_ref::<hyper::Error>()) {
        Some(error) if error.is_parse_too_large() => Cause::TooLarge,
        Some(error) if error.is_parse() => Cause::Protocol,
        _ if links(error).any(is_timeout) => Cause::Timeout,
        _ if links(error).any(is_from::<TooMuch>) => Cause::TooLarge,
        // A server that speaks TLS 1.3 refuses a client's certificate only after the client's part of the handshake.
        _ if links(error).any(is_from::<rustls::Error>) => Cause::Tls,
        _ if links(error).any(is_nonsense) => Cause::Protocol,
        _ => Cause::Reset,
    }
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Chunks that are none.
fn is_nonsense(error: &(dyn Error + 'static)) -> bool {
    let kind = error.downcast_ref().map(io::Error::kind);
    matches!(kind, Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
}

/// An I/O error is its own source's source: what it was made of stands nowhere in the chain.
fn is_from<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(<dyn Error + Send + Sync>::is::<E>)
}

/// The whole chain in one line. Postgres keeps no NUL in text.
pub(crate) fn detail(error: &(dyn Error + 'static)) -> String {
    clipped(&chain(error))
}

/// As much of a text as is kept with an attempt.
pub(crate) fn clipped(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(KEPT_DETAIL).collect()
}
