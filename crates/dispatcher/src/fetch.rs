//! Fetches what stands at an address: the one thing that is read from a server rather than sent to it.
//!
//! Through the same client as deliveries, so that the guard stands before it, no redirect is followed, what is read is bounded,
//! and a kept connection that is closed upon a request costs nothing.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use database::attempts::Split;
use http::{
    Request, StatusCode,
    header::{HOST, USER_AGENT},
};
use http_body_util::{BodyExt, Full, Limited};
use tokio::time::timeout;

use crate::{
    asker::Asker,
    attempt,
    client::{Client, MOST_BODY},
    guard::Refusal,
    pool::Place,
};

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody was asked.
    #[error("the URL cannot be fetched from")]
    Url(#[source] Refusal),
    /// The guard has refused it, nobody answers there, or what answers is no HTTP.
    #[error("no answer")]
    NoAnswer(#[source] Box<dyn Error + Send + Sync>),
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
        let place = Place::parse(url).map_err(FetchError::Url)?;
        timeout(within, self.get(&place)).await.map_err(|_| FetchError::Late(within))?
    }

    async fn get(&self, from: &Place) -> Result<Bytes, FetchError> {
        let make = || {
            let mut request = Request::new(Full::default());
            *request.uri_mut() = from.path.clone();
            request.headers_mut().insert(HOST, from.host.clone());
            request.headers_mut().insert(USER_AGENT, attempt::USER_AGENT);
            Ok(request)
        };
        let answered = self.answered(from, Asker::default(), make, &mut Split::default()).await;
        let (answer, connection) = answered.map_err(|failure| FetchError::NoAnswer(failure.into()))?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), MOST_BODY).collect().await.map_err(FetchError::Body)?;
        self.0.put_back(from, connection);
        Ok(body.to_bytes())
    }
}

#[cfg(test)]
mod tests;
