//! What the routes share, and the routes.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use database::Database;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vocabulary::MasterKey;

use crate::{refusal::Refusal, stream::stream, token::Token};

/// What the routes share. Cheap to clone.
#[derive(Clone)]
pub struct Console(Arc<Shared>);

struct Shared {
    database: Database,
    master: Arc<MasterKey>,
    token: Token,
    settings: Settings,
    streams: Arc<Semaphore>,
    stop: CancellationToken,
}

/// What streams may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The most streams at one time; a further one is answered with 503.
    pub streams: usize,
    /// How often a stream looks for what was committed.
    pub look_every: Duration,
    /// After how long without a line a stream shows that it lives, so that whoever reads can tell it from a dead one.
    pub heartbeat_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { streams: 32, look_every: Duration::from_millis(250), heartbeat_every: Duration::from_secs(15) }
    }
}

impl Console {
    /// A console over `database`, for whoever shows the token. Its streams end with `stop`, so that a server below it can
    /// drain.
    pub fn new(
        database: Database,
        master: Arc<MasterKey>,
        token: Token,
        settings: Settings,
        stop: CancellationToken,
    ) -> Self {
        let streams = Arc::new(Semaphore::new(settings.streams));
        Self(Arc::new(Shared { database, master, token, settings, streams, stop }))
    }

    pub(crate) fn database(&self) -> &Database {
        &self.0.database
    }

    pub(crate) fn master(&self) -> &MasterKey {
        &self.0.master
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn streams(&self) -> Arc<Semaphore> {
        self.0.streams.clone()
    }

    pub(crate) fn stop(&self) -> CancellationToken {
        self.0.stop.clone()
    }
}

/// The routes: `GET /v1/endpoints/{id}/stream` for whoever shows the token, and `GET /healthz` for everybody.
pub fn router(console: Console) -> Router {
    let guard = middleware::from_fn_with_state(console.clone(), authorise);
    Router::new()
        .route("/v1/endpoints/{id}/stream", get(stream))
        .route_layer(guard)
        .route("/healthz", get(StatusCode::OK))
        .with_state(console)
}

async fn authorise(State(console): State<Console>, request: Request, next: Next) -> Response {
    if console.0.token.is_shown(request.headers()) { next.run(request).await } else { Refusal::Token.into_response() }
}
