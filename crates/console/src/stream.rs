//! `GET /v1/endpoints/{id}/stream`: one line of JSON for each delivery that is committed to an endpoint from now on.
//!
//! Nothing runs but what whoever reads asks for: a stream that is not read looks up nothing and holds one line.

use std::{collections::VecDeque, error::Error, time::Duration};

use axum::{
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use database::{DatabaseError, OpenError, QueryError, bodies, endpoints};
use dispatcher::signing::{SigningSecret, SigningSecretError};
use futures::StreamExt;
use serde::Serialize;
use serde_json::json;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep},
};
use tracing::warn;
use vocabulary::EndpointId;

use crate::{
    console::Console,
    follower::{Follower, Owed},
    line::Line,
    refusal::Refusal,
};

/// After a query that failed: Postgres is away, and comes back in its own time.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Why there is no next line.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("Postgres gives no connection")]
    Connection(#[from] DatabaseError),
    #[error("a query failed")]
    Query(#[from] QueryError),
    #[error("the endpoint's secrets cannot be read")]
    Open(#[from] OpenError),
    #[error("the endpoint's secrets cannot sign")]
    Secret(#[from] SigningSecretError),
    #[error("the endpoint has no secret that signs")]
    NoSecret,
}

/// Answers with a stream that ends with the console, or with the connection.
pub(crate) async fn stream(State(console): State<Console>, id: Result<Path<String>, PathRejection>) -> Response {
    match begin(console, id).await {
        Ok(stream) => {
            let kind = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
            (kind, Body::from_stream(stream.map(Ok::<_, std::convert::Infallible>))).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

async fn begin(
    console: Console,
    id: Result<Path<String>, PathRejection>,
) -> Result<impl futures::Stream<Item = Bytes>, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoSuchEndpoint)?;
    let id: EndpointId = id.parse().map_err(|_| Refusal::NoSuchEndpoint)?;
    let place = console.streams().try_acquire_owned().map_err(|_| Refusal::Busy)?;
    let stop = console.stop();
    let stream = Stream::begin(console, &id, place).await.map_err(|error| {
        warn!(endpoint.id = %id, error = &error as &dyn Error, "endpoint {id} cannot be streamed");
        Refusal::Unreadable
    })?;
    let stream = stream.ok_or(Refusal::NoSuchEndpoint)?;
    let lines = futures::stream::unfold(stream, |mut stream| async { Some((stream.line().await, stream)) });
    Ok(lines.take_until(stop.cancelled_owned()))
}

struct Stream {
    console: Console,
    endpoint: EndpointId,
    follower: Follower,
    /// Found, and not yet said.
    owed: VecDeque<Owed>,
    /// When the last line was asked for.
    spoke: Instant,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    /// `None` where there is no such endpoint.
    async fn begin(
        console: Console,
        endpoint: &EndpointId,
        place: OwnedSemaphorePermit,
    ) -> Result<Option<Self>, StreamError> {
        let (conn, now) = (console.database().connection().await?, Utc::now());
        if secrets(&console, &conn, endpoint, now).await?.is_none() {
            return Ok(None);
        }
        let follower = Follower::begin(&conn, endpoint.clone(), now).await?;
        drop(conn);
        let (endpoint, owed) = (endpoint.clone(), VecDeque::new());
        Ok(Some(Self { console, endpoint, follower, owed, spoke: Instant::now(), _place: place }))
    }

    /// The next line: a delivery, or after a time without one, a sign of life.
    async fn line(&mut self) -> Bytes {
        let line = loop {
            let pause = match self.owed_next(Utc::now()).await {
                Ok(Some(line)) => break ndjson(&line),
                Ok(None) => self.console.settings().look_every,
                Err(error) => {
                    let id = &self.endpoint;
                    warn!(endpoint.id = %id, error = &error as &dyn Error, "the stream of endpoint {id} waits");
                    AFTER_FAILURE
                }
            };
            if self.spoke.elapsed() >= self.console.settings().heartbeat_every {
                break ndjson(&json!({ "heartbeat": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true) }));
            }
            sleep(pause).await;
        };
        self.spoke = Instant::now();
        line
    }

    /// A copy of what is owed next; `None` when that is nothing.
    async fn owed_next(&mut self, now: DateTime<Utc>) -> Result<Option<Line>, StreamError> {
        let conn = self.console.database().connection().await?;
        if self.owed.is_empty() {
            self.owed.extend(self.follower.next(&conn, now).await?);
        }
        while let Some(next) = self.owed.front() {
            let secrets = secrets(&self.console, &conn, &self.endpoint, now).await?.unwrap_or_default();
            let body = bodies::find(&conn, next.event_id, &next.format).await?;
            let Some(next) = self.owed.pop_front() else { break };
            match body {
                Some(body) => return Ok(Some(Line::sign(next.webhook_id, &body, &secrets, now))),
                None => warn!("event {} has no body in the format {}; not streamed", next.event_id, next.format),
            }
        }
        Ok(None)
    }
}

/// What signs at `now`; `None` where there is no such endpoint. Looked up for each line, because secrets are rotated while
/// streams are open.
async fn secrets(
    console: &Console,
    conn: &database::AsyncPgConnection,
    endpoint: &EndpointId,
    now: DateTime<Utc>,
) -> Result<Option<Vec<SigningSecret>>, StreamError> {
    let Some(texts) = endpoints::secrets::signing(conn, console.master(), endpoint, now).await? else {
        return Ok(None);
    };
    if texts.is_empty() {
        return Err(StreamError::NoSecret);
    }
    Ok(Some(texts.iter().map(SigningSecret::parse).collect::<Result<_, _>>()?))
}

fn ndjson<T: Serialize>(line: &T) -> Bytes {
    let mut bytes = serde_json::to_vec(line).expect("texts under fixed names are JSON");
    bytes.push(b'\n');
    bytes.into()
}
