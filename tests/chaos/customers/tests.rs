use std::net::SocketAddr;

use dispatcher::signing::signature;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::*;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Shorter than any answer that never comes.
const A_WHILE: Duration = Duration::from_millis(300);
const BODY: &str =
    r#"{"type":"message_created","timestamp":"t","data":{"key":"wamid.1","source_id":"chaos-0","raw":{}}}"#;

type Http = Client<HttpConnector, Full<Bytes>>;

/// Customers with one endpoint, `a`, and what signs for it.
async fn customers() -> (Customers, SigningSecret, Http) {
    let (secret, other) = (SigningSecret::generate(), SigningSecret::generate());
    let signs = SigningSecret::parse(&secret).unwrap();
    let customers = Customers::listen(vec![("a".to_owned(), secret), ("b".to_owned(), other)]).await.unwrap();
    (customers, signs, Client::builder(TokioExecutor::new()).build_http())
}

/// Delivers a body as a dispatcher does; status and `retry-after` or `location` of the answer, if it came whole.
async fn deliver(http: &Http, url: &str, secret: &SigningSecret, id: &str) -> Option<(StatusCode, Option<String>)> {
    let timestamp = Utc::now().timestamp();
    let request = http::Request::post(url)
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature(std::slice::from_ref(secret), id, timestamp, BODY.as_bytes()))
        .body(Full::from(BODY))
        .unwrap();
    let response = http.request(request).await.ok()?;
    let (head, body) = response.into_parts();
    body.collect().await.ok()?;
    let header = ["retry-after", "location"].into_iter().find_map(|name| head.headers.get(name));
    Some((head.status, header.map(|value| value.to_str().unwrap().to_owned())))
}

fn ids(customers: &Customers) -> Vec<(String, Answered)> {
    customers.heard().iter().map(|heard| (heard.webhook_id.to_string(), heard.answered)).collect()
}

async fn has_heard(customers: &Customers, count: usize) {
    timeout(PATIENCE, heard(customers, count)).await.expect("it is heard in time");
}

async fn heard(customers: &Customers, count: usize) {
    while customers.count() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_content_customer_writes_down_what_it_was_told_and_by_whom() {
    let (customers, secret, http) = customers().await;

    let answer = deliver(&http, &customers.url("a"), &secret, "msg_1").await;
    deliver(&http, &customers.url("b"), &secret, "msg_2").await;

    assert_eq!(answer, Some((StatusCode::OK, None)));
    let [heard, forged] = customers.heard().try_into().unwrap();
    assert_eq!((&*heard.endpoint, &*heard.webhook_id, &*heard.event_type), ("a", "msg_1", "message_created"));
    assert_eq!((heard.key.as_deref(), heard.source.as_deref()), (Some("wamid.1"), Some("chaos-0")));
    assert_eq!(heard.body_hash, digest(&SHA256, BODY.as_bytes()).as_ref());
    assert_eq!((heard.verified, heard.answered), (true, Answered::Ok));
    assert_eq!((&*forged.endpoint, forged.verified), ("b", false), "each endpoint has a secret of its own");
}

#[tokio::test]
async fn a_status_is_answered_with_its_header_and_only_2xx_is_a_yes() {
    let (customers, secret, http) = customers().await;
    let answers = [
        (500, None),
        (429, Some(("retry-after", "1".to_owned()))),
        (302, Some(("location", "http://127.0.0.1:1/".to_owned()))),
        (410, None),
        (204, None),
    ];

    for (place, (status, header)) in answers.into_iter().enumerate() {
        customers.set_mood("a", Mood::Answers(status, header.clone())).unwrap();
        let answer = timeout(PATIENCE, deliver(&http, &customers.url("a"), &secret, "msg")).await.unwrap();

        assert_eq!(answer, Some((StatusCode::from_u16(status).unwrap(), header.map(|(_, value)| value))));
        let yes = if status == 204 { Answered::Ok } else { Answered::Otherwise };
        assert_eq!(ids(&customers)[place].1, yes, "{status}");
    }
    assert!(customers.set_mood("c", Mood::Content).is_err());
    assert_eq!(deliver(&http, &customers.url("c"), &secret, "msg").await, Some((StatusCode::NOT_FOUND, None)));
}

#[tokio::test]
async fn who_hangs_or_drips_has_heard_and_never_comes_to_an_end() {
    let (customers, secret, http) = customers().await;

    for (count, mood) in [(1, Mood::Hangs), (2, Mood::Drips)] {
        customers.set_mood("a", mood).unwrap();
        let url = customers.url("a");
        let delivery = deliver(&http, &url, &secret, "msg");
        assert!(timeout(A_WHILE, delivery).await.is_err());
        has_heard(&customers, count).await;
    }

    assert!(ids(&customers).iter().all(|(_, answered)| *answered == Answered::Otherwise));
}

#[tokio::test]
async fn who_drips_sends_a_head_at_once_and_then_a_byte_at_a_time() {
    let (customers, ..) = customers().await;
    customers.set_mood("a", Mood::Drips).unwrap();
    let mut stream = TcpStream::connect(customers.address).await.unwrap();

    stream.write_all(b"POST /a HTTP/1.1\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let dripped = async {
        while !answer.ends_with(b"\r\n\r\n...") {
            stream.read_buf(&mut answer).await.unwrap();
        }
    };

    let begun = Instant::now();
    timeout(PATIENCE, dripped).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(begun.elapsed() >= A_WHILE);
}

#[tokio::test]
async fn who_answers_late_says_yes_in_the_end() {
    let (customers, secret, http) = customers().await;
    customers.set_mood("a", Mood::AnswersLate(A_WHILE)).unwrap();

    let begun = Instant::now();
    let answer = timeout(PATIENCE, deliver(&http, &customers.url("a"), &secret, "msg")).await.unwrap();

    assert_eq!(answer, Some((StatusCode::OK, None)));
    assert!(begun.elapsed() >= A_WHILE);
    assert_eq!(ids(&customers), [("msg".to_owned(), Answered::Ok)]);
}

#[tokio::test]
async fn who_breaks_off_has_heard_everything_and_said_half_at_most() {
    let (customers, secret, http) = customers().await;
    let address = customers.address;
    let request = b"POST /a HTTP/1.1\r\ncontent-length: 2\r\nwebhook-id: raw\r\n\r\n{}";

    customers.set_mood("a", Mood::BreaksOff).unwrap();
    assert_eq!(deliver(&http, &customers.url("a"), &secret, "msg").await, None);
    assert_eq!(said(address, request).await, (Vec::new(), true));
    customers.set_mood("a", Mood::BreaksOffHalfway).unwrap();
    assert_eq!(deliver(&http, &customers.url("a"), &secret, "msg").await, None);
    let (half, reset) = said(address, request).await;

    assert!(half.starts_with(b"HTTP/1.1 200 OK\r\n") && half.ends_with(b"half ") && reset);
    let heard = ["msg", "raw", "msg", "raw"].map(|id| (id.to_owned(), Answered::Otherwise));
    assert_eq!(ids(&customers), heard);
}

/// All that is said to a request, and whether the connection was reset after it.
async fn said(address: SocketAddr, request: &[u8]) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut said = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut said)).await.unwrap();
    (said, ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset))
}

#[tokio::test]
async fn mixed_moods_come_one_after_another_and_begin_again() {
    let (customers, secret, http) = customers().await;
    customers.set_mood("a", Mood::Mixed(vec![Mood::Answers(503, None), Mood::BreaksOff, Mood::Content])).unwrap();

    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(deliver(&http, &customers.url("a"), &secret, "msg").await.map(|(status, _)| status.as_u16()));
    }

    assert_eq!(answers, [Some(503), None, Some(200), Some(503), None, Some(200)]);
}

#[tokio::test]
async fn a_request_that_comes_in_pieces_is_heard_when_it_is_whole_and_the_next_one_behind_it() {
    let (customers, ..) = customers().await;
    let mut stream = TcpStream::connect(customers.address).await.unwrap();
    let request = b"POST /a HTTP/1.1\r\ncontent-length: 2\r\nwebhook-id: raw\r\n\r\n{}";

    stream.write_all(&request[..request.len() - 1]).await.unwrap();
    assert!(timeout(A_WHILE, heard(&customers, 1)).await.is_err());
    stream.write_all(&request[request.len() - 1..]).await.unwrap();
    stream.write_all(request).await.unwrap();

    has_heard(&customers, 2).await;
}

#[tokio::test]
async fn hundreds_of_deliveries_at_once_are_all_heard() {
    let (customers, secret, http) = customers().await;
    let (secret, url) = (Arc::new(secret), customers.url("a"));

    let mut deliveries = JoinSet::new();
    for number in 0..400 {
        let (http, url, secret) = (http.clone(), url.clone(), secret.clone());
        deliveries.spawn(async move { deliver(&http, &url, &secret, &format!("msg_{number}")).await });
    }
    let answers = timeout(PATIENCE, deliveries.join_all()).await.unwrap();

    assert!(answers.iter().all(|answer| matches!(answer, Some((StatusCode::OK, _)))));
    assert_eq!(customers.count(), 400);
}
