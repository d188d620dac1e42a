//! Fetches what stands at an address: the one thing that is read from a server rather than sent to it.
//!
//! Through the same client as deliveries, so that the guard stands before it, no redirect is followed, what is read is bounded,
//! and a kept connection that is closed upon a request costs nothing.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header::USER_AGENT};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy;
use tokio::time::{Instant, timeout};

use crate::{
    attempt,
    client::{Client, MOST_BODY},
    guard::{Refusal, parse},
};

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody was asked.
    #[error("the URL cannot be fetched from")]
    Url(#[source] Refusal),
    /// The guard has refused it, nobody answers there, or what answers is no HTTP.
    #[error("no answer")]
    NoAnswer(#[source] legacy::Error),
    /// Anything but 200, a redirect too.
    #[error("the answer is {0}, not 200")]
    Status(StatusCode),
    /// It broke off, or is longer than 64 KiB.
    #[error("the body did not come whole within {MOST_BODY} bytes")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    /// The deadline was over before its last byte.
    #[error("no whole answer within {0:?}")]
    Late(Duration),
}

impl Client {
    /// Gets what is at a URL, whole, within a time that covers all of it, from the look-up of the name to the last byte.
    ///
    /// # Errors
    /// When that is not to be had with 200 and in 64 KiB.
    pub async fn fetch(&self, url: &str, within: Duration) -> Result<Bytes, FetchError> {
        let uri = parse(url).map_err(FetchError::Url)?;
        timeout(within, self.get(uri)).await.map_err(|_| FetchError::Late(within))?
    }

    async fn get(&self, uri: Uri) -> Result<Bytes, FetchError> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri;
        request.headers_mut().insert(USER_AGENT, attempt::USER_AGENT);
        let answer = self.answered(request, Instant::now()).await.map_err(FetchError::NoAnswer)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), MOST_BODY).collect().await.map_err(FetchError::Body)?;
        Ok(body.to_bytes())
    }
}

#[cfg(test)]
mod tests;
