//! Connections that are kept and closed, and what is let go with them.

use chrono::Utc;
use http::{Request, header::HOST};
use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::{JoinHandle, yield_now},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::{
    client::{
        Answer, Client,
        tests::{Authority, send},
    },
    outcome::{Cause, Outcome},
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A customer who answers one request, and then waits for whatever comes over the connection; and what that is.
async fn customer() -> (String, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
        stream.write_all(OK).await.unwrap();
        stream.read(&mut [0; 4096]).await.unwrap()
    });
    (url, server)
}

/// A customer who says something to whoever comes, and never reads.
async fn deaf_customer(says: &'static [u8]) -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Only once a request is there: else it would be the answer to none.
        stream.peek(&mut [0]).await.unwrap();
        stream.write_all(says).await.unwrap();
        std::future::pending().await
    });
    (url, AbortOnDropHandle::new(server))
}

/// More than the kernel takes for who does not read.
fn large_body() -> Bytes {
    vec![b'x'; 32 << 20].into()
}

async fn send_body(client: &Client, url: &str, body: &Bytes, patience: Duration) -> Answer {
    let (to, asker) = (Place::parse(url).unwrap(), Asker { patience, ..Asker::default() });
    let make = || {
        let request = Request::post(to.path.clone()).header(HOST, to.host.clone());
        Ok(request.body(Full::new(body.clone())).unwrap())
    };
    client.send(&to, asker, make, Utc::now()).await.unwrap()
}

/// Waits until nobody else has it.
async fn is_let_go(body: &Bytes) {
    let let_go = async {
        while !body.is_unique() {
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), let_go).await.expect("nobody holds the body");
}

#[tokio::test]
async fn a_connection_that_has_idled_for_four_seconds_is_not_used_again() {
    let ((url, _server), client) = (customer().await, Authority::new().client());
    let place = Place::parse(&url).unwrap();
    send(&client, &url).await;

    let soon = client.0.kept(&place, Instant::now() + Duration::from_secs(3));
    client.0.put_back(&place, soon.unwrap());
    let late = client.0.kept(&place, Instant::now() + IDLE);

    assert!(late.is_none());
}

#[tokio::test]
async fn what_nobody_uses_is_closed_though_nobody_asks_for_it() {
    let (url, server) = customer().await;
    let connector = Authority::new().client().0.connector;
    let client = Client(Pool::keeping(connector, Duration::from_millis(50), OLDEST));

    send(&client, &url).await;

    let heard = timeout(Duration::from_secs(10), server).await.expect("the connection is closed");
    assert_eq!(heard.unwrap(), 0);
}

#[tokio::test]
async fn the_body_of_an_attempt_is_let_go_with_it_though_the_customer_never_reads() {
    let ((url, _server), client, body) = (deaf_customer(b"").await, Authority::new().client(), large_body());

    let answer = send_body(&client, &url, &body, Duration::from_millis(200)).await;

    assert_eq!(answer.outcome, Outcome::Failed(Cause::Timeout));
    is_let_go(&body).await;
}

#[tokio::test]
async fn who_answers_what_he_never_reads_holds_its_body_for_no_longer_than_a_connection_may_grow_old() {
    let ((url, _server), body) = (deaf_customer(OK).await, large_body());
    let (connector, oldest) = (Authority::new().client().0.connector, Duration::from_millis(100));
    let client = Client(Pool::keeping(connector, IDLE, oldest));

    let answer = send_body(&client, &url, &body, Duration::from_secs(2)).await;
    let holds_on = !body.is_unique();

    assert_eq!(answer.outcome, Outcome::Delivered);
    assert!(holds_on, "it is not written yet");
    is_let_go(&body).await;
}
