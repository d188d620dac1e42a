//! A customer that counts: how often each `webhook-id` came, and which keys it was told of.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A real HTTP server, content with everything.
pub(super) struct Customer {
    pub(super) url: String,
    heard: Arc<Mutex<Heard>>,
    _server: AbortOnDropHandle<()>,
}

/// What it was told.
#[derive(Debug, Default, Clone)]
pub(super) struct Heard {
    pub(super) requests: usize,
    pub(super) ids: HashMap<String, usize>,
    pub(super) keys: HashSet<String>,
}

impl Customer {
    pub(super) async fn new() -> Self {
        let heard = Arc::<Mutex<Heard>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhooks", listener.local_addr().unwrap());
        let router = Router::new().fallback(hear).with_state(heard.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, heard, _server: AbortOnDropHandle::new(server) }
    }

    /// All of it so far.
    pub(super) fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }
}

async fn hear(State(heard): State<Arc<Mutex<Heard>>>, headers: HeaderMap, body: Bytes) {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut heard = heard.lock().unwrap();
    heard.requests += 1;
    *heard.ids.entry(headers["webhook-id"].to_str().unwrap().to_owned()).or_default() += 1;
    heard.keys.insert(body["data"]["key"].as_str().unwrap().to_owned());
}
