//! Looking: events and their stories, deliveries, quarantine.

use serde_json::{Value, json};
use tests::{Pipeline, a_status, a_text};

use super::CommandLine;

fn texts(rows: &Value, field: &str) -> Vec<String> {
    rows.as_array().unwrap().iter().map(|row| row[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_listed_newest_first_by_source_kind_key_and_time() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.receive(a_text("wamid.1", "first")).await;
    pipeline.receive(a_text("wamid.2", "second")).await;
    pipeline.receive(a_status("wamid.9", "sent")).await;

    let keys = async |filter: &str| texts(&latchhook.json(&format!("events list {filter}")).await, "key");

    assert_eq!(keys("").await, ["wamid.9:sent", "wamid.2", "wamid.1"]);
    assert_eq!(keys("--kind text").await, ["wamid.2", "wamid.1"]);
    assert_eq!(keys("--key wamid.1").await, ["wamid.1"]);
    assert_eq!(keys("--limit 1").await, ["wamid.9:sent"]);
    assert_eq!(keys("--source another").await, [""; 0]);
    assert_eq!(keys("--since 2026-02-13T16:28:20Z").await.len(), 3);
    assert_eq!(keys("--since 2026-02-13T16:28:21Z").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_found_by_id_and_by_key_and_tells_its_whole_story() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    let stamp = pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline
        .execute(
            "INSERT INTO attempts SELECT event_id, endpoint_id, 1, webhook_id, '\\x00', 'status', 503, 'unavailable', \
             null, now(), 12000, 1000, 2000, null, 8500 FROM deliveries",
        )
        .await;

    let story = latchhook.json("events show wamid.1").await;
    let same = latchhook.json(&format!("events show {}", story["id"].as_str().unwrap())).await;
    let for_people = latchhook.run("events show wamid.1").await.out;

    assert_eq!(story, same);
    assert_eq!(story["raw_event"], stamp.to_string());
    assert_eq!(
        (&story["message"]["external_id"], &story["message"]["direction"]),
        (&json!("wamid.1"), &json!("incoming"))
    );
    assert_eq!(story["receipt"]["committed"], 1);
    assert_eq!(story["body"]["type"], "message_created");
    assert_eq!(
        (&story["deliveries"][0]["endpoint_id"], &story["attempts"][0]["http_status"]),
        (&json!("bot"), &json!(503))
    );
    let told = texts(&story["timeline"], "what");
    assert!(told[0].starts_with("happened") && told[1].starts_with("received in raw event"), "{told:?}");
    assert!(
        told.contains(
            &"attempt to bot: status 503 in 12 ms, DNS 1.0, connect 2.0, first byte 8.5 (unavailable)".to_owned()
        ),
        "{told:?}"
    );
    assert!(for_people.contains("attempt to bot: status 503"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_two_sources_have_asks_for_the_source() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.add_source("acme", "wa2").await;
    pipeline.receive(a_text("wamid.1", "hello")).await;
    let held = pipeline.enqueue_from("wa2", a_text("wamid.1", "hello")).await;
    pipeline.worker.work(vec![held]).await;

    assert!(latchhook.fails("events show wamid.1").await.contains("say which by --source"));
    assert_eq!(latchhook.json("events show wamid.1 --source wa2").await["source_id"], "wa2");
    assert!(latchhook.fails("events show wamid.3").await.contains("no event has the id or the key wamid.3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_of_a_disabled_endpoint_are_shown_as_held() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.receive(a_text("wamid.1", "hello")).await;

    latchhook.json("endpoint disable bot --reason 'their server burnt down'").await;

    let endpoint = latchhook.json("endpoint show bot").await;
    assert_eq!((&endpoint["pending"], &endpoint["disabled_reason"]), (&json!(1), &json!("their server burnt down")));
    let deliveries = latchhook.json("deliveries list --state pending --endpoint bot").await;
    assert_eq!((&deliveries[0]["held"], &deliveries[0]["state"]), (&json!(true), &json!("pending")));
    latchhook.json("endpoint enable bot").await;
    assert_eq!(latchhook.json("deliveries list").await[0]["held"], false);
    assert_eq!(latchhook.json("deliveries list --state delivered").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantine_is_grouped_by_reason_and_shows_the_whole_raw_event() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.receive("{not json").await;
    pipeline.receive("{nor this").await;
    pipeline.receive(&b"\xff\xfe"[..]).await;

    let groups = latchhook.json("quarantine list").await;
    let each = latchhook.json("quarantine list --each").await;

    let counts: Vec<_> = groups.as_array().unwrap().iter().map(|group| group["count"].as_u64().unwrap()).collect();
    assert_eq!(counts.iter().sum::<u64>(), 3);
    assert!(counts.is_sorted_by(|a, b| a >= b));
    let show = async |n: usize| latchhook.json(&format!("quarantine show {}", each[n]["id"])).await;
    assert_eq!(show(0).await["raw_event"]["body"], json!({"text": "{not json"}));
    assert_eq!(show(2).await["raw_event"]["body"], json!({"base64": "//4="}));
    let said = latchhook.run(&format!("quarantine show {}", each[1]["id"])).await;
    assert!(said.out.contains("{nor this"), "{}", said.out);
}
