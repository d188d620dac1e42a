//! What `doctor` says: beforehand, of what would be lost, and of what nobody has heard.

use axum::{Router, http::StatusCode};
use dispatcher::{Client, Dispatcher, Guard, Settings};
use serde_json::Value;
use tests::{Pipeline, a_text};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::CommandLine;

async fn says(pipeline: &Pipeline, check: &str) -> (String, String) {
    let said = CommandLine::of(pipeline).run("doctor --json").await;
    let checkups: Vec<Value> = serde_json::from_str(&said.out).unwrap();
    let checkup = checkups.iter().find(|checkup| checkup["check"] == check).unwrap();
    (checkup["found"].as_str().unwrap().to_owned(), checkup["verdict"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_how_many_raw_events_only_redis_has() {
    let check = "what a redis that lost its memory would take with it";
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.1", "committed")).await;
    for n in 2..=4 {
        pipeline.enqueue(a_text(&format!("wamid.{n}"), "queued")).await;
    }

    let (found, verdict) = says(&pipeline, check).await;

    assert_eq!((found.as_str(), verdict.as_str()), ("3 raw events are queued", "ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_a_loss_of_power_would_take() {
    let pipeline = Pipeline::new().await;

    let (found, verdict) = says(&pipeline, "what a machine that loses power takes with it").await;

    // The servers of tests are fast, not durable.
    assert!(found.contains("often 30 seconds"), "{found}");
    assert_eq!(verdict, "ok");
}

/// Sends what is due, once.
async fn dispatch(pipeline: &Pipeline) {
    let client = Client::new(Guard::new("127.0.0.0/8".parse().unwrap()));
    let (database, master) = (pipeline.database.clone(), pipeline.master.clone());
    let mut dispatcher = Dispatcher::new(database, master, Settings::default(), client);
    dispatcher.dispatch_due().await.unwrap();
    dispatcher.settled().await;
}

const HEARD: &str = "somebody was told of each endpoint that latchhook has disabled";

/// A customer who is gone, and what moves every endpoint there.
async fn gone() -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let moved = format!("UPDATE endpoints SET url = 'http://{}/'", listener.local_addr().unwrap());
    let server = tokio::spawn(async { axum::serve(listener, Router::new().fallback(StatusCode::GONE)).await.unwrap() });
    (moved, AbortOnDropHandle::new(server))
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_the_endpoints_that_latchhook_has_disabled_without_anybody_hearing_of_it() {
    let ((gone, _server), pipeline) = (gone().await, Pipeline::new().await);
    let by_hand = "UPDATE endpoints SET enabled = false, disabled_reason = 'by hand' WHERE id = 'by-hand'";
    pipeline.add_endpoint("acme", "by-hand", "*").await;
    pipeline.execute(&format!("{gone}; {by_hand}")).await;
    let before = says(&pipeline, HEARD).await;

    pipeline.receive(a_text("wamid.1", "nobody hears of the first")).await;
    dispatch(&pipeline).await;
    pipeline.add_endpoint("acme", "second", "message_created").await;
    pipeline.execute(&gone).await;
    pipeline.add_endpoint("acme", "operator", "latchhook.endpoint_disabled").await;
    pipeline.receive(a_text("wamid.2", "somebody hears of the second")).await;
    dispatch(&pipeline).await;
    let found = says(&pipeline, HEARD).await;
    CommandLine::of(&pipeline).json("endpoint enable bot").await;
    let after = says(&pipeline, HEARD).await;

    assert_eq!(pipeline.number("SELECT count(*) FROM endpoints WHERE NOT enabled").await, 2, "by-hand and second");
    assert_eq!(found, ("nobody was told of bot (it answered 410: gone)".to_owned(), "warn".to_owned()));
    assert_eq!([before.1, after.1], ["ok", "ok"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_says_of_an_endpoint_that_latchhook_has_disabled_is_its_reason_from_then_on() {
    let ((gone, _server), pipeline) = (gone().await, Pipeline::new().await);
    let latchhook = CommandLine::of(&pipeline);
    pipeline.execute(&gone).await;
    pipeline.receive(a_text("wamid.1", "nobody hears of it")).await;
    dispatch(&pipeline).await;
    let before = says(&pipeline, HEARD).await;

    let disabled = latchhook.json("endpoint disable bot --reason 'they have closed their shop'").await;
    let again = latchhook.json("endpoint disable bot").await;

    assert_eq!((disabled["disabled_reason"].as_str(), &disabled), (Some("they have closed their shop"), &again));
    assert_eq!(latchhook.json("endpoint show bot").await["disabled_reason"], disabled["disabled_reason"]);
    assert_eq!([before.1, says(&pipeline, HEARD).await.1], ["warn", "ok"]);
    assert_eq!(pipeline.number("SELECT count(*) FROM audit_log WHERE action = 'endpoint disable'").await, 1);
}
