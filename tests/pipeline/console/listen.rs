//! `latchhook listen`, as a process of its own beside a console in another.

use std::{net::SocketAddr, process::Command, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::HeaderMap,
    routing::post,
};
use bytes::Bytes;
use chrono::Utc;
use dispatcher::signing::{SigningSecret, verify};
use http::StatusCode;
use serde_json::Value;
use tests::{Pipeline, Process, a_text, binary};
use tokio::{net::TcpListener, sync::mpsc};

use crate::setting::TOKEN;

const FORWARDS: &str = "is owed from now on goes to";

/// A developer's server: believes what is signed, and says 500 to what holds `trouble`.
struct Server {
    url: String,
    got: mpsc::UnboundedReceiver<String>,
}

impl Server {
    async fn start() -> Self {
        let (sender, got) = mpsc::unbounded_channel();
        let router = Router::new().route("/hooks", post(take)).with_state(Arc::new(sender));
        let router = router.layer(DefaultBodyLimit::disable());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, got }
    }
}

async fn take(State(got): State<Arc<mpsc::UnboundedSender<String>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let secret = SigningSecret::parse(&"whsec_dGhlIHNlY3JldCBvZiBhIHRlc3QgYm90".to_owned().into()).unwrap();
    let Ok(id) = verify(&secret, &headers, &body, Utc::now()) else { return StatusCode::UNAUTHORIZED };
    got.send(id.to_owned()).unwrap();
    if body.windows(7).any(|word| word == b"trouble") { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
}

async fn console(pipeline: &Pipeline, at: &str) -> (Process, SocketAddr) {
    let arguments = [format!("--console-listen={at}"), format!("--api-token={TOKEN}")];
    let process = Process::start(pipeline, "console", None, &[&arguments[0], &arguments[1]]).await;
    let address = process.address_behind("the console is on http://");
    (process, address)
}

async fn listen(console: SocketAddr, token: &str, arguments: &[&str], words: &str) -> Process {
    let mut command = Command::new(binary());
    command.args(["listen", "--endpoint=bot"]).arg(format!("--api=http://{console}")).args(arguments);
    command.env("LATCHHOOK_API_TOKEN", token);
    Process::spawn(command, words).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_reaches_the_developers_server_and_the_terminal_shows_what_it_answered() {
    let (pipeline, mut server) = (Pipeline::new().await, Server::start().await);
    let (_console, address) = console(&pipeline, "127.0.0.1:0").await;
    let forward = format!("--forward={}", server.url);
    let mut listening = listen(address, TOKEN, &[&forward], FORWARDS).await;

    pipeline.receive(a_text("wamid.1", "hello")).await;
    let good = server.got.recv().await.unwrap();
    pipeline.receive(a_text("wamid.2", "trouble")).await;
    let bad = server.got.recv().await.unwrap();
    listening.says("200 in ", 1).await;
    listening.says("500 in ", 1).await;

    let said = listening.stop().await;
    assert!(said.contains(&format!("message_created  {good}  200 in ")), "{said}");
    assert!(said.contains(&format!("message_created  {bad}  500 in ")), "{said}");
    assert!(said.contains("2 forwarded, 1 of them failed"), "{said}");
}

/// A body holds the text twice: in the item as it came, and in the message that was made of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_largest_of_providers_send_is_copied_like_all_else() {
    let (pipeline, mut server) = (Pipeline::new().await, Server::start().await);
    let (_console, address) = console(&pipeline, "127.0.0.1:0").await;
    let mut listening = listen(address, TOKEN, &[&format!("--forward={}", server.url)], FORWARDS).await;
    pipeline.execute("UPDATE sources SET body_limit = 16 << 20").await;

    pipeline.receive(a_text("wamid.1", &"a".repeat(13 << 20))).await;
    let large = server.got.recv().await.unwrap();
    listening.says("200 in ", 1).await;

    let said = listening.stop().await;
    assert!(said.contains(&format!("message_created  {large}  200 in ")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_reads_an_object_for_each_delivery_and_the_sum_at_the_end() {
    let (pipeline, server) = (Pipeline::new().await, Server::start().await);
    let (_console, address) = console(&pipeline, "127.0.0.1:0").await;
    drop(server);
    // Nobody listens on port 9 of this machine.
    let mut listening = listen(address, TOKEN, &["--forward=http://127.0.0.1:9/", "--json"], FORWARDS).await;

    pipeline.receive(a_text("wamid.1", "hello")).await;
    listening.says("duration_ms", 1).await;

    let said = listening.stop().await;
    let objects: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let [forwarded, sum] = &objects[..] else { panic!("{said}") };
    assert_eq!((forwarded["type"].as_str(), &forwarded["status"]), (Some("message_created"), &Value::Null));
    assert!(forwarded["error"].as_str().unwrap().contains("refused"), "{forwarded}");
    assert_eq!((sum["forwarded"].as_u64(), sum["failed"].as_u64()), (Some(1), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_console_was_restarted_the_stream_goes_on() {
    let (pipeline, mut server) = (Pipeline::new().await, Server::start().await);
    let (first, address) = console(&pipeline, "127.0.0.1:0").await;
    let forward = format!("--forward={}", server.url);
    let mut listening = listen(address, TOKEN, &[&forward], FORWARDS).await;

    first.stop().await;
    listening.says("asks again in", 1).await;
    let _second = console(&pipeline, &address.to_string()).await;
    listening.says(FORWARDS, 2).await;
    pipeline.receive(a_text("wamid.1", "hello")).await;

    assert!(server.got.recv().await.is_some());
    assert!(listening.log().contains("the stream ended"), "{}", listening.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_refused_again_is_not_asked_again() {
    let pipeline = Pipeline::new().await;
    let (_console, address) = console(&pipeline, "127.0.0.1:0").await;

    let (wrong, other) = ("another-token-than-that", "--endpoint=nobody");
    let mut forged = listen(address, wrong, &["--forward=http://127.0.0.1:9/"], "refuses").await;
    let mut tokenless = listen(address, "", &["--forward=http://127.0.0.1:9/"], "is not set").await;
    let mut command = Command::new(binary());
    command.args(["listen", other, "--forward=http://127.0.0.1:9/"]).arg(format!("--api=http://{address}"));
    let mut unknown = Process::spawn(
        {
            command.env("LATCHHOOK_API_TOKEN", TOKEN);
            command
        },
        "refuses",
    )
    .await;

    for (process, said) in
        [(&mut forged, "401"), (&mut unknown, "no such endpoint"), (&mut tokenless, "LATCHHOOK_API_TOKEN")]
    {
        process.says(said, 1).await;
        assert_eq!(process.ends().await.code(), Some(1), "{}", process.log());
    }
}

/// What speaks HTTP there, and knows of no stream, is most likely the producer.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_the_producer_for_a_stream_is_told_where_to_ask() {
    let pipeline = Pipeline::new().await;
    let producer = Process::start(&pipeline, "producer", None, &[]).await;

    let mut listening = listen(producer.address(), TOKEN, &["--forward=http://127.0.0.1:9/"], "refuses").await;

    assert_eq!(listening.ends().await.code(), Some(1));
    let said = listening.log();
    assert!(
        said.contains("refuses (404 Not Found): it does not say why: is --api the console, and not the producer?"),
        "{said}"
    );
}
