//! Reads a body whole, within a size, a time, and the memory that all requests share.

use std::time::Duration;

use axum::{body::HttpBody, http::HeaderMap};
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::{Refusal, memory::Share, refusal::Refused};

/// What is reserved before a byte has come, at most: a promise of a length costs its sender nothing.
const FIRST_CAPACITY: usize = 16 << 10;

/// A whole body, and the share of the common memory that it takes until it is dropped.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    pub(super) bytes: Bytes,
    pub(super) share: Share<'a>,
}

/// The bounds of a body.
#[derive(Debug)]
pub(super) struct Bounds<'a> {
    pub(super) bytes: usize,
    pub(super) deadline: Duration,
    pub(super) share: Share<'a>,
}

/// Refuses a body whose announced length is too large before any of it is read.
pub(super) fn check_announced(headers: &HeaderMap, limit: usize) -> Result<usize, Refused> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    match announced {
        Some(length) if length > limit => Err(Refused::too_large(limit)),
        length => Ok(length.unwrap_or(0)),
    }
}

/// Reads `body` to its end. The deadline is for all of it: a client that drips gains nothing.
pub(super) async fn read<B>(body: B, announced: usize, bounds: Bounds<'_>) -> Result<Whole<'_>, Refused>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let deadline = bounds.deadline;
    timeout(deadline, gather(body, announced, bounds)).await.map_err(|_| Refusal::TooSlow)?
}

async fn gather<B>(mut body: B, announced: usize, mut bounds: Bounds<'_>) -> Result<Whole<'_>, Refused>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut bytes = BytesMut::with_capacity(announced.min(FIRST_CAPACITY));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::Broken)?.into_data() else { continue };
        if bytes.len() + data.len() > bounds.bytes {
            return Err(Refused::too_large(bounds.bytes));
        }
        bounds.share.take(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(Whole { bytes: bytes.freeze(), share: bounds.share })
}
