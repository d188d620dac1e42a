//! `endpoint ping`: a test event, signed as any, and what came of it.

use dispatcher::signing::{SigningSecret, verify};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use super::{CommandLine, stores};

/// Takes one request and gives this answer. Gives its URL, and the request.
async fn customer(answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let request = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = String::new();
        while !request.ends_with("}}") {
            let mut part = [0; 4096];
            let len = stream.read(&mut part).await.unwrap();
            request += str::from_utf8(&part[..len]).unwrap();
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    });
    (url, request)
}

async fn add(latchhook: &CommandLine, url: &str) -> SigningSecret {
    latchhook.json("account add --id acme").await;
    let added = latchhook.json(&format!("endpoint add --account acme --url {url} --events * --id bot")).await;
    SigningSecret::parse(&added["secret"].as_str().unwrap().to_owned().into()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_is_signed_as_any_delivery_and_says_where_its_time_went() {
    let (_database, _redis, latchhook) = stores().await;
    let (url, request) = customer("HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\n\r\nhello").await;
    let secret = add(&latchhook, &url).await;

    let said = latchhook.json("endpoint ping bot").await;

    let request = request.await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers: HeaderMap = lines
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
        .collect();
    assert!(verify(&secret, &headers, body.as_bytes(), chrono::Utc::now()).is_ok());
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["type"], "latchhook.ping");
    assert_eq!(headers["webhook-id"], said["webhook_id"].as_str().unwrap());
    assert_eq!(
        (&said["outcome"], &said["http_status"], &said["response_head"]),
        (&json!("delivered"), &json!(202), &json!("hello"))
    );
    assert!(said["connect_us"].is_u64() && said["first_byte_us"].is_u64() && said["tls_us"].is_null(), "{said}");
    assert_eq!(latchhook.json("deliveries list").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_that_is_not_taken_says_why_and_fails() {
    let (_database, _redis, latchhook) = stores().await;
    let (url, _request) = customer("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n").await;
    add(&latchhook, &url).await;

    let said = latchhook.run("endpoint ping bot --json").await;

    let failure = said.ended.unwrap_err();
    assert_eq!((failure.status, failure.to_string().as_str()), (1, "latchhook: bot did not take the ping: status"));
    let out: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&out["outcome"], &out["http_status"]), (&json!("status"), &json!(403)));
    assert!(latchhook.fails("endpoint ping nobody").await.contains("there is no endpoint nobody"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_may_take_what_any_request_of_the_fleet_may_take_and_no_longer() {
    let (_database, _redis, latchhook) = stores().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    add(&latchhook, &format!("http://{}/", silent.local_addr().unwrap())).await;

    let said = latchhook.run("endpoint ping bot --request-deadline 300ms --json").await;

    let out: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&out["outcome"], &out["http_status"]), (&json!("timeout"), &Value::Null));
    let took = out["duration_us"].as_u64().unwrap();
    assert!((300_000..10_000_000).contains(&took), "{took}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_goes_nowhere_that_a_delivery_may_not_go() {
    let (_database, _redis, mut latchhook) = stores().await;
    let (url, _request) = customer("").await;
    add(&latchhook, &url).await;
    latchhook.settings.retain(|flag| !flag.starts_with("--allow-private-endpoints"));

    let said = latchhook.run("endpoint ping bot --json").await;

    let failure = said.ended.unwrap_err().to_string();
    assert!(failure.starts_with("latchhook: nothing was sent to bot: guard: "), "{failure}");
    assert!(failure.contains("127.0.0.1 is not public"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_was_asked_it_is_said_that_nothing_was_sent_and_why() {
    let (database, _redis, latchhook) = stores().await;
    let (url, _request) = customer("").await;
    add(&latchhook, &url).await;
    let (sql, connection) = tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let sealed_by_nobody = r"UPDATE endpoints SET access = '\x00'";
    let ended = "UPDATE endpoints SET access = NULL, secret_ends = ARRAY[now() - interval '1 hour']";

    let mut said = Vec::new();
    for broken in [sealed_by_nobody, ended] {
        sql.batch_execute(broken).await.unwrap();
        said.push(latchhook.run("endpoint ping bot --json").await.ended.unwrap_err().to_string());
    }

    assert!(said[0].starts_with("latchhook: nothing was sent to bot: access: "), "{}", said[0]);
    assert!(said[1].starts_with("latchhook: nothing was sent to bot: secret: all signing secrets"), "{}", said[1]);
    assert!(said[1].ends_with("(latchhook endpoint rotate)"), "{}", said[1]);
}
