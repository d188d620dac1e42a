//! Customers: real HTTP servers on this machine, some of them badly behaved.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chrono::Utc;
use dispatcher::signing::{SigningSecret, verify};
use http::{HeaderMap, StatusCode};
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as a customer saw it.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at: std::time::Instant,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// Checks the signature as customers should.
    pub(crate) fn is_signed_by(&self, secret: &SecretString) -> bool {
        let secret = SigningSecret::parse(secret).unwrap();
        verify(&secret, &self.headers, &self.body, Utc::now()).is_ok()
    }
}

/// Answers with the n-th status of a list (the last one for ever after), and remembers what it got.
pub(crate) struct Customer {
    pub(crate) url: String,
    received: watch::Receiver<Vec<Received>>,
    _server: AbortOnDropHandle<()>,
}

struct Counter {
    answers: Vec<(StatusCode, HeaderMap)>,
    received: watch::Sender<Vec<Received>>,
    /// What every answer waits for, where there is something.
    gate: Option<Arc<Notify>>,
    fails_for: Option<&'static str>,
    holds: Option<&'static str>,
}

impl Counter {
    fn new(answers: Vec<(StatusCode, HeaderMap)>) -> Self {
        Self { answers, received: watch::Sender::default(), gate: None, fails_for: None, holds: None }
    }
}

impl Customer {
    /// Content with everything.
    pub(crate) async fn content() -> Self {
        Self::answering(&[200]).await
    }

    /// Likewise, at another address than the others.
    pub(crate) async fn content_at(address: IpAddr) -> Self {
        Self::started_at(address, Counter::new(vec![(StatusCode::OK, HeaderMap::new())])).await
    }

    pub(crate) async fn answering(statuses: &[u16]) -> Self {
        let statuses = statuses.iter().map(|status| (StatusCode::from_u16(*status).unwrap(), HeaderMap::new()));
        Self::start(statuses.collect(), None).await
    }

    pub(crate) async fn answering_with(status: u16, name: &'static str, value: &str) -> Self {
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]);
        Self::start(vec![(StatusCode::from_u16(status).unwrap(), headers)], None).await
    }

    /// Content, but for bodies that hold this word: those it answers 500.
    pub(crate) async fn failing_for(word: &'static str) -> Self {
        Self::started(Counter { fails_for: Some(word), ..Counter::new(vec![(StatusCode::OK, HeaderMap::new())]) }).await
    }

    /// Content, but for bodies that hold this word: those it never answers.
    pub(crate) async fn holding(word: &'static str) -> Self {
        Self::started(Counter { holds: Some(word), ..Counter::new(vec![(StatusCode::OK, HeaderMap::new())]) }).await
    }

    /// Takes requests, and answers one of them for each notification of `gate`.
    pub(crate) async fn waiting_for(gate: &Arc<Notify>) -> Self {
        Self::answering_when(200, gate).await
    }

    /// Likewise, with this status.
    pub(crate) async fn answering_when(status: u16, gate: &Arc<Notify>) -> Self {
        Self::start(vec![(StatusCode::from_u16(status).unwrap(), HeaderMap::new())], Some(gate.clone())).await
    }

    /// Takes requests and never answers.
    pub(crate) async fn hanging() -> Self {
        Self::waiting_for(&Arc::new(Notify::new())).await
    }

    async fn start(answers: Vec<(StatusCode, HeaderMap)>, gate: Option<Arc<Notify>>) -> Self {
        Self::started(Counter { gate, ..Counter::new(answers) }).await
    }

    async fn started(counter: Counter) -> Self {
        Self::started_at(Ipv4Addr::LOCALHOST.into(), counter).await
    }

    async fn started_at(address: IpAddr, counter: Counter) -> Self {
        let received = counter.received.subscribe();
        let router = Router::new().fallback(answer).with_state(Arc::new(counter));
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, received, _server: AbortOnDropHandle::new(server) }
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// Waits until it has got so many.
    pub(crate) async fn has_received(&self, count: usize) -> Vec<Received> {
        let mut received = self.received.clone();
        let enough = timeout(PATIENCE, received.wait_for(|received| received.len() >= count)).await;
        enough.expect("the customer gets its requests in time").unwrap().clone()
    }
}

async fn answer(State(counter): State<Arc<Counter>>, request: Request) -> Response {
    let at = std::time::Instant::now();
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let text = String::from_utf8_lossy(&body);
    let [fails, is_held] = [counter.fails_for, counter.holds].map(|word| word.is_some_and(|word| text.contains(word)));
    let mut place = 0;
    counter.received.send_modify(|received| {
        place = received.len();
        received.push(Received { headers: parts.headers, body, at });
    });
    if is_held {
        std::future::pending::<()>().await;
    }
    if let Some(gate) = &counter.gate {
        gate.notified().await;
    }
    if fails {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let (status, headers) = &counter.answers[place.min(counter.answers.len() - 1)];
    (*status, headers.clone()).into_response()
}

/// A server that speaks as it likes: reads what is sent first, then does as told with the connection. Gives its address.
pub(crate) async fn raw<F>(speak: impl Fn(TcpStream) -> F + Send + 'static) -> (SocketAddr, AbortOnDropHandle<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            tokio::spawn(speak(stream));
        }
    });
    (address, AbortOnDropHandle::new(server))
}

/// A raw server that says one thing and hangs up.
pub(crate) async fn saying(words: &'static [u8]) -> (SocketAddr, AbortOnDropHandle<()>) {
    raw(move |mut stream| async move {
        let _ = stream.write_all(words).await;
    })
    .await
}
