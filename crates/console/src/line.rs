//! A line of a stream: a request as the endpoint would be sent it now, but for what else its requests carry (headers, basic
//! auth, a client certificate): that was given for its own server, and whoever reads the stream is another.

use base64::{DecodeError, Engine, engine::general_purpose::STANDARD as BASE64};
use chrono::{DateTime, Utc};
use dispatcher::signing::{SigningSecret, signature};
use serde::{Deserialize, Serialize};

/// A copy of a delivery, as the stream's lines have it: signed afresh, as an attempt would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The delivery's id, on every attempt and in every stream.
    pub webhook_id: String,
    /// What the request carries.
    pub headers: Headers,
    /// The body's bytes, in base64: JSON, but whatever a provider wrote is in it as it was.
    pub body: String,
}

/// The headers of a copy. Those of the endpoint's access are none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Headers {
    /// As [`Line::webhook_id`].
    pub webhook_id: String,
    /// When it was signed, in seconds since 1970.
    pub webhook_timestamp: String,
    /// One signature per secret of the endpoint, with spaces between them.
    pub webhook_signature: String,
    /// `application/json`.
    pub content_type: String,
}

impl Line {
    /// Signs at `now`.
    pub(crate) fn sign(webhook_id: String, body: &[u8], secrets: &[SigningSecret], now: DateTime<Utc>) -> Self {
        let timestamp = now.timestamp();
        let headers = Headers {
            webhook_id: webhook_id.clone(),
            webhook_timestamp: timestamp.to_string(),
            webhook_signature: signature(secrets, &webhook_id, timestamp, body),
            content_type: "application/json".to_owned(),
        };
        Self { webhook_id, headers, body: BASE64.encode(body) }
    }

    /// The bytes of the body.
    ///
    /// # Errors
    /// When they are no base64.
    pub fn bytes(&self) -> Result<Vec<u8>, DecodeError> {
        BASE64.decode(&self.body)
    }
}
