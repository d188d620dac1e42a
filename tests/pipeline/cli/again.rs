//! Sending again what was delivered, to a customer who has lost it: a window of one endpoint, and only when somebody says so.

use serde_json::json;
use tests::{Pipeline, a_text};

use super::{CommandLine, came_to};

const LAST_SIX_HOURS: &str = "deliveries retry --state delivered --endpoint bot --since 6h";

/// Four events that `bot` and `other` have been delivered: the first of them seven hours ago.
async fn four_delivered(pipeline: &Pipeline) {
    pipeline.add_endpoint("acme", "other", "*").await;
    for key in ["1", "2", "3", "4"] {
        pipeline.receive(a_text(&format!("wamid.{key}"), "hello")).await;
    }
    let first = "event_id = (SELECT id FROM events WHERE key = 'wamid.1')";
    pipeline
        .execute(&format!(
            "UPDATE deliveries SET state = 'delivered', finished_at = now(); DELETE FROM due; \
             UPDATE deliveries SET created_at = now() - interval '7 hours' WHERE {first}"
        ))
        .await;
}

/// Keys of the events that `bot` is owed.
async fn owed(pipeline: &Pipeline) -> Vec<String> {
    let query = "SELECT key FROM events JOIN due ON event_id = id WHERE endpoint_id = 'bot' ORDER BY events.sequence";
    pipeline.rows(query, &[]).await.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_is_sent_again_of_a_window_of_one_endpoint_under_the_same_ids() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    four_delivered(&pipeline).await;
    let ids = "SELECT string_agg(webhook_id, ' ' ORDER BY event_id, endpoint_id) FROM deliveries";
    let before: String = pipeline.rows(ids, &[]).await[0].get(0);

    let plan = latchhook.json(&format!("{LAST_SIX_HOURS} --rate 1000/s --dry-run")).await;
    assert_eq!((&plan["wanted"], owed(&pipeline).await.len()), (&json!(3), 0));
    let ended = latchhook.json(&format!("{LAST_SIX_HOURS} --rate 1000/s")).await;

    assert_eq!(ended, came_to("done", 3, 3));
    assert_eq!(owed(&pipeline).await, ["wamid.2", "wamid.3", "wamid.4"]);
    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 3, "the other endpoint has what it has");
    assert_eq!(pipeline.rows(ids, &[]).await[0].get::<_, String>(0), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_is_left_alone_where_no_endpoint_or_no_window_is_named() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    four_delivered(&pipeline).await;

    for which in ["", "--endpoint bot", "--since 6h", "--endpoint bot --until 1h"] {
        let failure = latchhook.fails(&format!("deliveries retry --state delivered {which}")).await;
        assert!(
            ["--endpoint", "--since", "latchhook events replay EVENT"].iter().all(|way| failure.contains(way)),
            "{failure}"
        );
    }
    assert_eq!(latchhook.json("deliveries retry --endpoint bot --since 6h").await, came_to("done", 0, 0));

    assert_eq!(owed(&pipeline).await.len(), 0);
}

/// Its first chunk made the second event due, and that has been delivered again since.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_again_before_the_retry_is_resumed_is_not_sent_a_third_time() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    four_delivered(&pipeline).await;
    let asked_for = json!({"states": ["delivered"], "endpoint_id": "bot", "since": "2020-01-01T00:00:00Z"});
    let again = "UPDATE deliveries SET finished_at = clock_timestamp() \
                 WHERE event_id = (SELECT id FROM events WHERE key = 'wamid.2')";
    pipeline
        .execute(&format!("INSERT INTO retries (filter, actor, wanted) VALUES ('{asked_for}', 'somebody', 4)"))
        .await;
    pipeline.execute(again).await;

    let resumed = latchhook.json("deliveries retries resume 1").await;

    assert_eq!(resumed, came_to("done", 4, 3));
    assert_eq!(owed(&pipeline).await, ["wamid.1", "wamid.3", "wamid.4"]);
}
