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

const STOPPED: &str = "no retry of many deliveries has stopped";

/// Retries that somebody has asked for: one whose next chunk could have been taken a while ago, one whose next comes so late as its
/// rate is low, and one that was just asked for.
const RETRIES: &str = "INSERT INTO retries (filter, actor, wanted, taken, per_second, next_at) \
    SELECT '{\"states\": [\"abandoned\"]}', 'somebody', 5, 2, per_second, next_at FROM (VALUES \
        (NULL, '2026-11-20 10:00:00Z'::timestamptz), (0.001, now() + interval '900 seconds'), (NULL, now())) r (per_second, next_at)";

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_a_retry_that_nobody_works_at_with_the_commands_that_go_on_with_it_or_call_it_off() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    let before = says(&pipeline, STOPPED).await;
    pipeline.execute(RETRIES).await;

    let (found, verdict) = says(&pipeline, STOPPED).await;
    let advice = latchhook.run("doctor").await.out;
    latchhook.json("deliveries retries resume 1").await;
    let after = says(&pipeline, STOPPED).await;

    assert_eq!([before.1, after.1], ["ok", "ok"]);
    assert_eq!((&*found, &*verdict), ("retry 1 took 2 of 5, and nothing since 2026-11-20T10:00:00Z", "warn"));
    let commands = "latchhook deliveries retries resume 1 (goes on), or latchhook deliveries retries cancel 1";
    assert!(advice.contains(commands), "{advice}");
}
