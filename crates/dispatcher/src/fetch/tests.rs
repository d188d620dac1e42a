//! Servers that are asked for something, and what is made of their answers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::task::AbortOnDropHandle;
use vocabulary::chain;

use super::*;
use crate::{
    client::tests::{Authority, customer, showing},
    guard::Guard,
};

const WITHIN: Duration = Duration::from_secs(10);

/// A server that gives every request the same answer.
struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    /// Closes the connection behind it.
    async fn answering(answer: String) -> Self {
        Self::listening(answer, false).await
    }

    /// Keeps the connection, and says nothing more.
    async fn falling_silent_behind(answer: &str) -> Self {
        Self::listening(answer.to_owned(), true).await
    }

    async fn listening(answer: String, keeps: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let serving = async move {
            let mut kept = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Relaxed);
                let _ = stream.read(&mut [0; 4096]).await;
                // Who asked may have heard enough before the end.
                let _ = stream.write_all(answer.as_bytes()).await;
                if keeps {
                    kept.push(stream);
                }
            }
        };
        Self { url, asked, _task: AbortOnDropHandle::new(tokio::spawn(serving)) }
    }

    /// Keeps each connection, and closes it upon its second request. Counts requests.
    async fn closing_upon_the_second() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let serving = async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let counted = counted.clone();
                tokio::spawn(async move {
                    for answer in ["HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", ""] {
                        let len = stream.read(&mut [0; 4096]).await.unwrap();
                        counted.fetch_add(usize::from(len > 0), Relaxed);
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        };
        Self { url, asked, _task: AbortOnDropHandle::new(tokio::spawn(serving)) }
    }

    async fn with_body(bytes: usize) -> Self {
        let body = "x".repeat(bytes);
        Self::answering(format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n{body}")).await
    }
}

/// A client that may ask this machine.
fn client() -> Client {
    Client::new(Guard::new("127.0.0.1".parse().unwrap()))
}

#[tokio::test]
async fn what_is_fetched_comes_whole_and_no_longer_than_the_body_of_any_answer() {
    let (most, longer) = (Server::with_body(MOST_BODY).await, Server::with_body(MOST_BODY + 1).await);
    let cut = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_owned()).await;

    let whole = client().fetch(&most.url, WITHIN).await.unwrap();

    assert_eq!(whole, "x".repeat(MOST_BODY));
    for server in [longer, cut] {
        assert!(matches!(client().fetch(&server.url, WITHIN).await, Err(FetchError::Body(_))));
    }
}

#[tokio::test]
async fn an_answer_that_is_not_200_is_none_and_where_it_sends_us_to_nobody_is_asked() {
    let target = Server::with_body(1).await;

    for status in ["302 Found", "404 Not Found", "204 No Content", "500 Internal Server Error"] {
        let answer = format!("HTTP/1.1 {status}\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", target.url);
        let server = Server::answering(answer).await;
        let error = client().fetch(&server.url, WITHIN).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the answer is {status}, not 200"));
    }
    assert_eq!(target.asked.load(Relaxed), 0);
}

#[tokio::test]
async fn the_time_for_a_fetch_covers_the_last_byte_of_its_body() {
    let within = Duration::from_millis(300);

    for answer in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"] {
        let server = Server::falling_silent_behind(answer).await;
        let fetched = timeout(WITHIN, client().fetch(&server.url, within)).await.expect("it ends");
        assert!(matches!(fetched, Err(FetchError::Late(_))), "{answer:?}: {fetched:?}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_upon_a_fetch_costs_none() {
    let (server, client) = (Server::closing_upon_the_second().await, client());

    let first = client.fetch(&server.url, WITHIN).await.unwrap();
    let second = client.fetch(&server.url, WITHIN).await.unwrap();

    assert_eq!((first, second), ("x".into(), "x".into()));
    assert_eq!(server.asked.load(Relaxed), 3, "the second was asked for twice");
}

#[tokio::test]
async fn the_guard_stands_before_a_fetch_and_so_does_tls() {
    let server = Server::with_body(1).await;
    let (known, unknown) = (Authority::new(), Authority::new());
    let (url, _server) = customer(showing(known.certify(|_| {}), None)).await;

    let guarded = Client::new(Guard::default()).fetch(&server.url, WITHIN).await;

    assert!(matches!(&guarded, Err(FetchError::NoAnswer(_))), "{guarded:?}");
    assert!(chain(&guarded.unwrap_err()).starts_with("no answer: 127.0.0.1 is"));
    assert_eq!(server.asked.load(Relaxed), 0);
    assert_eq!(known.client().fetch(&url, WITHIN).await.unwrap(), "0");
    assert!(matches!(unknown.client().fetch(&url, WITHIN).await, Err(FetchError::NoAnswer(_))));
    assert!(matches!(known.client().fetch("ftp://127.0.0.1/", WITHIN).await, Err(FetchError::Url(_))));
}
