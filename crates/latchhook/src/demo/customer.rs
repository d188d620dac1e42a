//! The customer: a real HTTP server that verifies every signature and counts what it is told.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use dispatcher::signing::{SigningSecret, verify};
use ring::digest::{SHA256, digest};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

/// What the customer has heard.
#[derive(Debug, Default, Clone)]
pub(super) struct Heard {
    /// How often each `webhook-id` came.
    pub(super) by_id: HashMap<String, usize>,
    /// Requests whose signature was wrong.
    pub(super) forged: usize,
    /// Ids that came with two different bodies.
    pub(super) changed: usize,
    bodies: HashMap<String, Vec<u8>>,
}

impl Heard {
    /// Ids that came more than once.
    pub(super) fn twice(&self) -> usize {
        self.by_id.values().filter(|times| **times > 1).count()
    }
}

/// A customer that listens.
pub(super) struct Customer {
    /// Where to send to.
    pub(super) address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
}

struct Inbox {
    secret: SigningSecret,
    heard: Arc<Mutex<Heard>>,
}

type Shared = Arc<Inbox>;

impl Customer {
    /// Listens on a free port of this machine, and verifies with this secret.
    ///
    /// # Errors
    /// When there is no free port, or the secret is none.
    pub(super) async fn listen(secret: &SecretString, stop: CancellationToken) -> anyhow::Result<Self> {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = Arc::new(Inbox { secret: SigningSecret::parse(secret)?, heard: heard.clone() });
        let router = Router::new().route("/webhooks", post(receive)).with_state(shared);
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await });
        Ok(Self { address, heard })
    }

    /// What it has heard so far.
    pub(super) fn heard(&self) -> Heard {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn receive(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut heard = shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(id) = verify(&shared.secret, &headers, &body, chrono::Utc::now()) else {
        heard.forged += 1;
        return StatusCode::UNAUTHORIZED;
    };
    let id = id.to_owned();
    let hash = digest(&SHA256, &body).as_ref().to_vec();
    if *heard.bodies.entry(id.clone()).or_insert_with(|| hash.clone()) != hash {
        heard.changed += 1;
    }
    *heard.by_id.entry(id).or_default() += 1;
    StatusCode::OK
}
