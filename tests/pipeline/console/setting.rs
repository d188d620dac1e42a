//! A console over a pipeline's stores, and somebody who reads its streams.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use console::{Console, Line, Settings, Token};
use http::{HeaderMap, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::{client::legacy, rt::TokioExecutor};
use producer::{ConnectionLimits, Stopped};
use serde_json::Value;
use tests::Pipeline;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// What the API wants to be shown.
pub(crate) const TOKEN: &str = "the-token-of-the-tests";
/// Longer than anything here takes, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A console that serves.
pub(crate) struct Setting {
    pub(crate) pipeline: Pipeline,
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<Stopped>,
}

impl Setting {
    pub(crate) async fn new() -> Self {
        Self::with(Settings { look_every: Duration::from_millis(10), ..Settings::default() }).await
    }

    /// A console that shows all the time that it lives.
    pub(crate) async fn lively() -> Self {
        let quick = Duration::from_millis(1);
        Self::with(Settings { look_every: quick, heartbeat_every: quick, ..Settings::default() }).await
    }

    /// A console with settings of its own, served as the binary does.
    pub(crate) async fn with(settings: Settings) -> Self {
        let (pipeline, stop) = (Pipeline::new().await, CancellationToken::new());
        let token = Token::parse(&TOKEN.to_owned().into()).unwrap();
        let console = Console::new(pipeline.database.clone(), pipeline.master.clone(), token, settings, stop.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = producer::serve(listener, console::router(console), ConnectionLimits::default(), stop.clone());
        Self { pipeline, address, stop, server: tokio::spawn(serving) }
    }

    /// The stream of an endpoint, which there must be.
    pub(crate) async fn stream(&self, endpoint: &str) -> Stream {
        let response = self.get(&format!("/v1/endpoints/{endpoint}/stream"), &[&format!("Bearer {TOKEN}")]).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        Stream { body: response.into_body(), read: Vec::new() }
    }

    /// Asks for something, with these authorizations.
    pub(crate) async fn get(&self, path: &str, authorizations: &[&str]) -> Response<Incoming> {
        let client: legacy::Client<_, Empty<Bytes>> = legacy::Client::builder(TokioExecutor::new()).build_http();
        let mut request = Request::get(format!("http://{}{path}", self.address)).body(Empty::new()).unwrap();
        for authorization in authorizations {
            request.headers_mut().append(AUTHORIZATION, authorization.parse().unwrap());
        }
        timeout(PATIENCE, client.request(request)).await.expect("an answer").unwrap()
    }

    /// Tells the console to stop; gives how its server ended.
    pub(crate) async fn stops(self) -> Stopped {
        self.stop.cancel();
        timeout(PATIENCE, self.server).await.expect("the server ends").unwrap()
    }
}

/// A stream that is read.
pub(crate) struct Stream {
    body: Incoming,
    read: Vec<u8>,
}

impl Stream {
    /// The next line; `None` once the stream has ended.
    pub(crate) async fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("the stream goes on")?.unwrap();
            self.read.extend(frame.into_data().unwrap());
        }
    }

    /// The next delivery, however many signs of life come before it.
    pub(crate) async fn delivery(&mut self) -> Copied {
        let delivery = async {
            loop {
                let line = self.line().await.expect("the stream goes on");
                if line.get("heartbeat").is_none() {
                    return Copied(serde_json::from_value(line).unwrap());
                }
            }
        };
        timeout(PATIENCE, delivery).await.expect("a delivery in time")
    }

    /// Sees it look, from now on, and find nothing: a sign of life that was made later, which others may have been before on
    /// their way, and one after that.
    pub(crate) async fn looks_in_vain(&mut self) {
        let now = Utc::now();
        let mut line = self.line().await.unwrap();
        while line["heartbeat"].as_str().expect("no delivery").parse::<DateTime<Utc>>().unwrap() <= now {
            line = self.line().await.unwrap();
        }
        let next = self.line().await.unwrap();
        assert!(next.get("heartbeat").is_some(), "{next}");
    }

    /// The keys of the next deliveries, in their order.
    pub(crate) async fn keys(&mut self, count: usize) -> Vec<String> {
        let mut keys = Vec::new();
        for _ in 0..count {
            keys.push(self.delivery().await.json()["data"]["key"].as_str().unwrap().to_owned());
        }
        keys
    }
}

/// A delivery as a stream has it.
pub(crate) struct Copied(pub(crate) Line);

impl Copied {
    pub(crate) fn body(&self) -> Vec<u8> {
        self.0.bytes().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).unwrap()
    }

    /// The headers as a customer's server would see them.
    pub(crate) fn headers(&self) -> HeaderMap {
        let headers = &self.0.headers;
        let pairs = [
            ("webhook-id", &headers.webhook_id),
            ("webhook-timestamp", &headers.webhook_timestamp),
            ("webhook-signature", &headers.webhook_signature),
            ("content-type", &headers.content_type),
        ];
        pairs.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }
}
