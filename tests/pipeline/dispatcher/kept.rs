//! Customers who close a connection that is kept while a request is on its way.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::AbortOnDropHandle;

use crate::setting::{Setting, dispatch_all};

const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const HALF: &[u8] = b"HTTP/1.1 2";
const NOTHING: &[u8] = b"";

/// What is said to each request of one connection, which is closed behind the last.
type Says = &'static [&'static [u8]];

/// Every request, with the connection that it came over.
type Requests = Arc<Mutex<Vec<(usize, String)>>>;

/// A customer who takes one connection after the other; nobody else answers once all are used up.
async fn customer(connections: &'static [Says]) -> (Setting, Requests, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let setting = Setting::with_endpoint(&format!("http://{}/", listener.local_addr().unwrap())).await;
    let requests = Requests::default();
    let seen = requests.clone();
    let server = tokio::spawn(async move {
        for (number, says) in connections.iter().enumerate() {
            let (mut stream, _) = listener.accept().await.unwrap();
            for words in *says {
                let request = request(&mut stream).await;
                seen.lock().unwrap().push((number, request));
                stream.write_all(words).await.unwrap();
            }
        }
    });
    (setting, requests, AbortOnDropHandle::new(server))
}

/// A request, whole: what is closed upon an unread part of it is reset, and not ended.
async fn request(stream: &mut TcpStream) -> String {
    let mut request = String::new();
    while !request.ends_with('}') {
        let mut part = [0; 4096];
        let len = stream.read(&mut part).await.unwrap();
        assert!(len > 0, "the request ends early: {request}");
        request += std::str::from_utf8(&part[..len]).unwrap();
    }
    request
}

/// Sends two deliveries, one after the other, and gives what is recorded of their attempts.
async fn send_two(setting: &Setting) -> Vec<String> {
    let mut dispatcher = setting.dispatcher();
    for key in ["1", "2"] {
        setting.owe("bot", key).await;
        dispatch_all(&mut dispatcher).await;
    }
    setting.attempts().await.into_iter().map(|(outcome, _)| outcome).collect()
}

/// Over which connection each request came.
fn connections(requests: &[(usize, String)]) -> Vec<usize> {
    requests.iter().map(|(connection, _)| *connection).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_is_closed_upon_a_request_costs_no_attempt_and_the_same_bytes_come_again() {
    let (setting, requests, _server) = customer(&[&[TAKEN, NOTHING], &[TAKEN]]).await;

    let outcomes = send_two(&setting).await;

    let requests = requests.lock().unwrap().clone();
    assert_eq!(outcomes, ["delivered", "delivered"]);
    assert_eq!(connections(&requests), [0, 0, 1]);
    assert_eq!(requests[1].1, requests[2].1, "with the same id, timestamp and signature");
    assert_ne!(requests[0].1, requests[1].1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_closes_the_next_connection_too_is_sent_nothing_a_third_time() {
    let (setting, requests, _server) = customer(&[&[TAKEN, NOTHING], &[NOTHING], &[TAKEN]]).await;

    let outcomes = send_two(&setting).await;

    assert_eq!(outcomes, ["delivered", "reset"]);
    assert_eq!(connections(&requests.lock().unwrap()), [0, 0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_closed_in_the_middle_of_an_answer_is_not_sent_again_within_the_attempt() {
    let (setting, requests, _server) = customer(&[&[TAKEN, HALF], &[TAKEN]]).await;

    let outcomes = send_two(&setting).await;

    assert_eq!(outcomes, ["delivered", "reset"]);
    assert_eq!(connections(&requests.lock().unwrap()), [0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_that_is_closed_upon_a_request_is_a_failure() {
    let (setting, requests, _server) = customer(&[&[NOTHING], &[TAKEN], &[TAKEN]]).await;

    let outcomes = send_two(&setting).await;

    assert_eq!(outcomes, ["reset", "delivered"]);
    assert_eq!(connections(&requests.lock().unwrap()), [0, 1]);
}
