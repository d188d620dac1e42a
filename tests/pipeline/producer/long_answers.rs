//! Who is being answered is not idle, however long that takes.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    routing::get as on_get,
};
use futures::channel::mpsc;
use producer::{ConnectionLimits, serve};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::http::{Connection, get};

const SHORT: Duration = Duration::from_millis(300);

/// A server of these routes, over whose connections little time may pass between two requests.
async fn open(routes: Router) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let limits = ConnectionLimits { idle_deadline: SHORT, ..ConnectionLimits::default() };
    tokio::spawn(serve(listener, routes, limits, stop.clone()));
    (address, stop.drop_guard())
}

#[tokio::test]
async fn an_answer_that_streams_is_not_cut_off_though_it_says_nothing_for_longer_than_a_connection_may_idle() {
    let (body, said) = mpsc::unbounded::<Result<Bytes, Infallible>>();
    let said = Arc::new(Mutex::new(Some(said)));
    let streamed = move || async move { Body::from_stream(said.lock().unwrap().take().unwrap()) };
    let (address, _server) = open(Router::new().route("/", on_get(streamed))).await;
    let mut connection = Connection::open(address).await;
    connection.send(&get("/")).await;
    let head = connection.receive().await.unwrap();

    body.unbounded_send(Ok("first".into())).unwrap();
    let first = connection.chunk().await;
    sleep_until(Instant::now() + 4 * SHORT).await;
    body.unbounded_send(Ok("second".into())).unwrap();
    let second = connection.chunk().await;
    drop(body);
    let last = connection.chunk().await;

    assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")));
    assert_eq!([first, second, last], [Some("first".into()), Some("second".into()), Some(String::new())]);
    assert_eq!(connection.receive().await, None, "it idles from here on");
}

#[tokio::test]
async fn a_client_whose_requests_come_before_it_is_answered_does_not_idle() {
    let slow = || async {
        sleep(SHORT / 2).await;
        "answered"
    };
    let (address, _server) = open(Router::new().route("/", on_get(slow))).await;
    let mut connection = Connection::open(address).await;

    connection.send(&get("/").repeat(8)).await;
    let mut answered = 0;
    while let Some(answer) = connection.receive().await {
        answered += usize::from(answer.status == 200);
    }

    assert_eq!(answered, 8);
}
