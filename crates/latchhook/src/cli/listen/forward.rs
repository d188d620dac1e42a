//! One delivery to the developer's server, and what came of it.

use std::{error::Error, fmt, time::Duration};

use base64::DecodeError;
use bytes::Bytes;
use chrono::{DateTime, Local, Utc};
use console::Line;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, header::CONTENT_TYPE};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, timeout};
use vocabulary::chain;

use super::super::http::{Client, HttpUrl, client};

/// What a request may take, to the last byte of its answer: as long as the dispatcher waits if nobody says otherwise.
const DEADLINE: Duration = Duration::from_secs(15);
/// Bytes of an answer's body; a larger one is a failure, as it is to the dispatcher.
const LONGEST_ANSWER: usize = 64 << 10;

/// Sends to one URL.
pub(super) struct Forwarder {
    client: Client,
    to: HttpUrl,
}

/// What came of a delivery.
#[derive(Debug, Serialize)]
pub(super) struct Forwarded {
    /// When it was sent.
    at: DateTime<Utc>,
    /// What its body says that it is.
    #[serde(rename = "type")]
    event_type: Option<String>,
    webhook_id: String,
    /// What was answered; `None` where nothing was.
    status: Option<u16>,
    /// Why nothing was.
    error: Option<String>,
    duration_ms: u64,
}

impl Forwarder {
    /// # Errors
    /// When TLS cannot be used.
    pub(super) fn new(to: &HttpUrl) -> anyhow::Result<Self> {
        Ok(Self { client: client()?, to: to.clone() })
    }

    /// Sends the same bytes under the same headers.
    pub(super) async fn forward(&self, line: Line) -> Forwarded {
        let (at, started) = (Utc::now(), Instant::now());
        let body = line.bytes().map(Bytes::from);
        let event_type = body.as_ref().ok().and_then(|body| event_type(body));
        let sent = timeout(DEADLINE, self.send(&line, body)).await;
        let (status, error) = match sent {
            Ok(Ok(status)) => (Some(status), None),
            Ok(Err(error)) => (None, Some(chain(error.as_ref()))),
            Err(_) => (None, Some(format!("no whole answer within {} s", DEADLINE.as_secs()))),
        };
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Forwarded { at, event_type, webhook_id: line.webhook_id, status, error, duration_ms }
    }

    async fn send(&self, line: &Line, body: Result<Bytes, DecodeError>) -> Result<u16, Box<dyn Error + Send + Sync>> {
        let headers = &line.headers;
        let request = Request::post(self.to.uri())
            .header(CONTENT_TYPE, &headers.content_type)
            .header("webhook-id", &headers.webhook_id)
            .header("webhook-timestamp", &headers.webhook_timestamp)
            .header("webhook-signature", &headers.webhook_signature)
            .body(Full::new(body?))?;
        let response = self.client.request(request).await?;
        let status = response.status().as_u16();
        Limited::new(response.into_body(), LONGEST_ANSWER).collect().await?;
        Ok(status)
    }
}

impl Forwarded {
    /// Whether a dispatcher would have called it delivered.
    pub(super) fn is_delivered(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

impl fmt::Display for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.at.with_timezone(&Local).format("%H:%M:%S");
        let event_type = self.event_type.as_deref().unwrap_or("-");
        write!(f, "{time}  {event_type}  {}  ", self.webhook_id)?;
        match (self.status, &self.error) {
            (Some(status), _) => write!(f, "{status} in {} ms", self.duration_ms),
            (None, error) => write!(f, "{} after {} ms", error.as_deref().unwrap_or("no answer"), self.duration_ms),
        }
    }
}

fn event_type(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body["type"].as_str().map(str::to_owned)
}
