//! What was given up, by endpoint and cause; and finding it costs those nothing that deliver.

use serde_json::Value;
use tests::{Pipeline, a_text};

use super::CommandLine;

/// Three abandoned deliveries to `bot` and one to `other`, with two attempts each: `timeout` first, then each its own.
pub(super) async fn four_abandoned(pipeline: &Pipeline) {
    pipeline.add_endpoint("acme", "other", "*").await;
    for (key, outcome, status) in [("1", "refused", "NULL"), ("2", "refused", "NULL"), ("3", "tls", "NULL")] {
        pipeline.receive(a_text(&format!("wamid.{key}"), "hello")).await;
        pipeline.execute(&abandon(&format!("wamid.{key}"), "bot", outcome, status)).await;
    }
    pipeline.execute(&abandon("wamid.3", "other", "status", "503")).await;
    pipeline
        .execute(
            "UPDATE deliveries SET state = 'delivered', finished_at = now() WHERE state = 'pending'; DELETE FROM due",
        )
        .await;
}

fn abandon(key: &str, endpoint: &str, outcome: &str, status: &str) -> String {
    let of = format!("event_id = (SELECT id FROM events WHERE key = '{key}') AND endpoint_id = '{endpoint}'");
    let attempt = |lease: u8, outcome: &str, status: &str| {
        format!(
            "INSERT INTO attempts SELECT event_id, endpoint_id, {lease}, webhook_id, '\\x00', '{outcome}', {status}, null, \
             null, now(), 12000 FROM deliveries WHERE {of};"
        )
    };
    let (first, last) = (attempt(1, "timeout", "NULL"), attempt(2, outcome, status));
    format!("UPDATE deliveries SET state = 'abandoned', finished_at = now() WHERE {of}; {first} {last}")
}

fn groups(summary: &Value) -> Vec<(&str, Option<&str>, Option<i64>, u64)> {
    summary
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let (endpoint, count) = (row["endpoint_id"].as_str().unwrap(), row["count"].as_u64().unwrap());
            (endpoint, row["outcome"].as_str(), row["http_status"].as_i64(), count)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_abandoned_is_counted_by_endpoint_and_by_what_the_last_attempt_came_to() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    four_abandoned(&pipeline).await;

    let summary = latchhook.json("deliveries summary").await;
    let for_people = latchhook.run("deliveries summary").await.out;

    let expected =
        [("bot", Some("refused"), None, 2), ("bot", Some("tls"), None, 1), ("other", Some("status"), Some(503), 1)];
    assert_eq!(groups(&summary), expected);
    let [oldest, newest] = ["oldest", "newest"].map(|end| summary[0][end].as_str().unwrap().to_owned());
    assert!(oldest < newest, "{summary}");
    assert!(["OUTCOME", "refused", "503"].iter().all(|word| for_people.contains(word)), "{for_people}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_is_counted_too_and_what_was_never_tried_has_no_cause() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    four_abandoned(&pipeline).await;
    pipeline.receive(a_text("wamid.4", "hello")).await;

    let summary = latchhook.json("deliveries summary --state pending").await;

    assert_eq!(groups(&summary), [("bot", None, None, 1), ("other", None, None, 1)]);
    let refused = latchhook.fails("deliveries summary --state delivered").await;
    assert!(refused.contains("--state is abandoned or pending"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_found_by_cause_by_status_and_by_a_window_of_time() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    four_abandoned(&pipeline).await;
    pipeline.execute("UPDATE deliveries SET created_at = now() - interval '2 hours' WHERE endpoint_id = 'other'").await;
    let count = async |filter: &str| {
        let listed = latchhook.json(&format!("deliveries list --state abandoned {filter}")).await;
        let counted = latchhook.json(&format!("deliveries summary {filter}")).await;
        let sum = counted.as_array().unwrap().iter().map(|group| group["count"].as_u64().unwrap()).sum::<u64>();
        assert_eq!(listed.as_array().unwrap().len() as u64, sum, "{filter}");
        sum
    };

    assert_eq!(count("").await, 4);
    assert_eq!(count("--cause refused").await, 2);
    assert_eq!(count("--cause timeout").await, 0, "that was not the last attempt");
    assert_eq!(count("--status 503").await, 1);
    assert_eq!((count("--cause tls --endpoint bot").await, count("--cause tls --endpoint other").await), (1, 0));
    assert_eq!((count("--until 1h").await, count("--since 1h").await), (1, 3));
    assert_eq!(count("--since 3h --until 1h").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_nothing_can_fit_is_refused() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    let refused = [
        ("deliveries list --since 1h --until 2h", "--since comes before --until"),
        ("deliveries list --cause delivered", "--cause <CAUSE>"),
        ("deliveries summary --status 99", "--status <N>"),
        ("deliveries retry --until never", "neither a moment"),
    ];

    for (line, what) in refused {
        let failure = latchhook.fails(line).await;
        assert!(failure.contains(what), "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_answered_by_what_to_write() {
    let nothing = CommandLine { settings: Vec::new() };
    let refused = [
        (
            "deliveries list --event nope",
            "--event <ID>': no id of an event: write it as latchhook events list prints it",
        ),
        ("deliveries list --status abc", "--status <N>': no HTTP status: write a number from 100 to 999, such as 503"),
        ("deliveries summary --status 1000", "--status <N>': no HTTP status"),
        ("deliveries retries show nope", "<ID>': no number of a retry: write it as latchhook deliveries retries list"),
        ("deliveries retries cancel 1.5", "<ID>': no number of a retry"),
        (
            "deliveries retry --state pending --rate 50/m",
            "--rate <N/S>': no rate: write how many a second, as 50 or 50/s",
        ),
    ];

    for (line, what) in refused {
        let failure = nothing.fails(line).await;
        assert!(failure.contains(what), "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_deliver_touches_no_index_though_what_is_abandoned_is_found_by_one() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.1", "hello")).await;
    let on_its_page = "SELECT pg_stat_get_xact_tuples_hot_updated('deliveries'::regclass)";
    let plan = "EXPLAIN SELECT FROM deliveries WHERE abandoned_at IS NOT NULL ORDER BY event_id, endpoint_id LIMIT 1";

    pipeline.execute("BEGIN; UPDATE deliveries SET attempts = 1, state = 'delivered', finished_at = now()").await;
    let delivered = pipeline.number(on_its_page).await;
    pipeline.execute("ROLLBACK; BEGIN; UPDATE deliveries SET state = 'abandoned', finished_at = now()").await;
    let abandoned = pipeline.number(on_its_page).await;
    pipeline.execute("COMMIT; SET enable_seqscan = off").await;
    let plan: Vec<String> = pipeline.rows(plan, &[]).await.iter().map(|row| row.get(0)).collect();

    assert_eq!((delivered, abandoned - delivered), (1, 0));
    assert!(plan.join("\n").contains("deliveries_abandoned"), "{plan:?}");
}
