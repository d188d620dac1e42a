//! The console's stream of an endpoint, as a client reads it.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use console::Line;
use futures::Stream;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{AUTHORIZATION, HeaderValue},
};
use hyper_util::client::legacy;
use producer::BODY_LIMITS;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;
use vocabulary::EndpointId;

use super::super::http::{Client, HttpUrl, client};

/// Three signs of life that did not come.
const SILENCE: Duration = Duration::from_secs(45);
/// How long the head of the answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Bytes of a line: more than the largest delivery has. It holds an item as the provider sent it, and what was made of a message
/// in it, which is no longer. JSON writes an item that is no JSON as text, a byte as six at most (RFC 8259, 7); and base64
/// makes four bytes of three.
const LONGEST_LINE: usize = 6 * *BODY_LIMITS.end() as usize / 3 * 4 + (1 << 20);
/// Bytes that are read of a refusal.
const LONGEST_REFUSAL: usize = 4 << 10;

/// Why there is no stream, or none any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    /// It would be refused again.
    #[error("the console refuses ({status}): {said}")]
    Refused { status: StatusCode, said: String },
    /// It may be better later.
    #[error("the console gives no stream ({status}): {said}")]
    Busy { status: StatusCode, said: String },
    #[error("the console does not answer: check that it runs, and --api")]
    Away(#[from] legacy::Error),
    #[error("the console has said nothing for too long")]
    Silent,
    #[error("the stream broke off")]
    Broken(#[from] hyper::Error),
    #[error("the stream ended")]
    Ended,
    #[error("the stream says what is no delivery: is {0} the console?")]
    NotALine(HttpUrl),
    #[error("a line of the stream is longer than {LONGEST_LINE} bytes, which no delivery is: is {0} the console?")]
    TooLong(HttpUrl),
}

/// What the stream of one endpoint is asked for with.
pub(super) struct Api {
    client: Client,
    at: HttpUrl,
    stream: Uri,
    bearer: HeaderValue,
}

/// What a line may be: a delivery, or a sign of life.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Delivery(Line),
    Heartbeat {
        #[serde(rename = "heartbeat")]
        _at: String,
    },
}

impl Api {
    /// The API at `at`, which wants to see `token`.
    ///
    /// # Errors
    /// When there is no token, or none that a header can carry.
    pub(super) fn new(at: &HttpUrl, endpoint: &EndpointId, token: Option<&SecretString>) -> anyhow::Result<Self> {
        let token = token.filter(|token| !token.expose_secret().is_empty()).context(
            "LATCHHOOK_API_TOKEN is not set: it is what the console was started with (latchhook dev prints how to get it)",
        )?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
        let mut bearer = bearer.context("LATCHHOOK_API_TOKEN holds what no header can carry")?;
        bearer.set_sensitive(true);
        let url = format!("{}/v1/endpoints/{endpoint}/stream", at.to_string().trim_end_matches('/'));
        let stream = url.parse().with_context(|| format!("{at} is no address of an API"))?;
        Ok(Self { client: client()?, at: at.clone(), stream, bearer })
    }

    /// Asks for the stream.
    ///
    /// # Errors
    /// When it is refused, or the console is away.
    pub(super) async fn connect(&self) -> Result<impl Stream<Item = Result<Line, StreamError>>, StreamError> {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = self.stream.clone();
        request.headers_mut().insert(AUTHORIZATION, self.bearer.clone());
        let response =
            timeout(ANSWER_WITHIN, self.client.request(request)).await.map_err(|_| StreamError::Silent)??;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        let lines = Lines { body: response.into_body(), read: Vec::new(), at: self.at.clone() };
        Ok(futures::stream::unfold(Some(lines), |lines| async {
            let mut lines = lines?;
            match lines.next().await {
                Ok(line) => Some((Ok(line), Some(lines))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

/// 4xx says that the question is wrong, 429 apart; anything else may pass.
async fn refusal(response: Response<Incoming>) -> StreamError {
    let status = response.status();
    let body = timeout(ANSWER_WITHIN, Limited::new(response.into_body(), LONGEST_REFUSAL).collect()).await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    let json: Option<Value> = serde_json::from_slice(&body).ok();
    let silent = "it does not say why: is --api the console, and not the producer?";
    let said = json.as_ref().and_then(|json| json["error"].as_str()).unwrap_or(silent).to_owned();
    if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        StreamError::Refused { status, said }
    } else {
        StreamError::Busy { status, said }
    }
}

struct Lines {
    body: Incoming,
    read: Vec<u8>,
    at: HttpUrl,
}

impl Lines {
    /// The next delivery.
    async fn next(&mut self) -> Result<Line, StreamError> {
        loop {
            let line = self.line().await?;
            match serde_json::from_slice(&line) {
                Ok(Said::Delivery(line)) => return Ok(line),
                Ok(Said::Heartbeat { .. }) => {}
                Err(_) => return Err(StreamError::NotALine(self.at.clone())),
            }
        }
    }

    async fn line(&mut self) -> Result<Vec<u8>, StreamError> {
        // What was looked through before holds no newline.
        let mut looked = 0;
        loop {
            if let Some(end) = self.read[looked..].iter().position(|byte| *byte == b'\n') {
                let rest = self.read.split_off(looked + end + 1);
                return Ok(std::mem::replace(&mut self.read, rest));
            }
            if self.read.len() > LONGEST_LINE {
                return Err(StreamError::TooLong(self.at.clone()));
            }
            looked = self.read.len();
            let frame = timeout(SILENCE, self.body.frame()).await.map_err(|_| StreamError::Silent)?;
            let frame = frame.ok_or(StreamError::Ended)??;
            self.read.extend(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
        }
    }
}
