//! Which way a request goes.
//!
//! Nearly all that ever comes is `POST /hooks/{source_id}`, and to find that out with a router costs more than to look at the
//! path: so it is looked at first. Whatever is not plainly that goes to the router, which knows all there is, this too: the
//! id may be written otherwise (`%2D`), and then it has to be read.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Method, Request, StatusCode},
    response::Response,
    routing::{MethodRouter, get},
};
use chrono::Utc;
use hyper::body::Incoming;
use tower::Service;
use vocabulary::SourceId;

use super::{Intake, hooks, raw_events};

/// The path of the providers' door, before the id of a source.
const HOOKS: &str = "/hooks/";

/// The routes of the intake, for [`serve`](super::serve). Cheap to clone.
#[derive(Clone)]
pub struct Routes {
    intake: Intake,
    all: Router,
}

/// The routes of this intake; others are 404.
pub fn routes(intake: Intake) -> Routes {
    let hooks = MethodRouter::new().get(hooks::handshake).post(hooks::receive).fallback(hooks::other_method);
    let raw_events = MethodRouter::new().post(raw_events::enqueue).fallback(raw_events::other_method);
    let all = Router::new()
        .route("/hooks/{source_id}", hooks)
        .route("/v1/sources/{source_id}/raw-events", raw_events)
        .route("/healthz", get(StatusCode::OK))
        .route("/readyz", get(readiness))
        .with_state(intake.clone());
    Routes { intake, all }
}

impl Service<Request<Incoming>> for Routes {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        match source_of(&request) {
            Some(id) => Box::pin(hooks::receive_for(self.intake.clone(), id, request)),
            None => Box::pin(self.all.call(request.map(Body::new))),
        }
    }
}

/// Whose provider this is plainly from.
fn source_of(request: &Request<Incoming>) -> Option<SourceId> {
    let id = request.uri().path().strip_prefix(HOOKS).filter(|_| request.method() == Method::POST)?;
    id.parse().ok()
}

async fn readiness(State(intake): State<Intake>) -> StatusCode {
    if intake.is_ready(Utc::now()) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
