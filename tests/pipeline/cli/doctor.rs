//! What `doctor` says beforehand of what would be lost.

use serde_json::Value;
use tests::{Pipeline, a_text};

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
