//! Why an endpoint gets nothing: since when it fails and why, until when it rests, and what was given up.

use database::{Database, deliveries::LOOKED_AT, endpoints::troubles};
use diesel_async::SimpleAsyncConnection;
use serde_json::json;
use tests::{Pipeline, rows_read};

use super::CommandLine;

/// What is owed to an endpoint, each numbered one after the other and tried once, under this lease, with this outcome.
async fn failed(pipeline: &Pipeline, endpoint: &str, state: &str, numbers: (usize, usize), lease: usize) {
    let event = "('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid";
    let (first, last) = numbers;
    let finished = if state == "pending" { "NULL" } else { "now()" };
    let statement = format!(
        "INSERT INTO deliveries (event_id, endpoint_id, webhook_id, state, finished_at) \
         SELECT {event}, '{endpoint}', 'msg_{endpoint}' || n, '{state}', {finished} FROM generate_series({first}, {last}) n; \
         INSERT INTO attempts (event_id, endpoint_id, lease, webhook_id, body_hash, outcome, http_status, started_at, duration_us) \
         SELECT {event}, '{endpoint}', {lease}, '', '', 'status', {lease}, '2026-11-20T10:00:00Z', 0 \
         FROM generate_series({first}, {last}) n; \
         INSERT INTO due (event_id, endpoint_id, attempts) SELECT event_id, endpoint_id, 1 FROM deliveries d \
         WHERE state = 'pending' AND NOT EXISTS (SELECT FROM due WHERE event_id = d.event_id AND endpoint_id = d.endpoint_id)"
    );
    pipeline.execute(&statement).await;
}

/// What people read of it: the cell behind a name.
async fn cell(latchhook: &CommandLine, name: &str) -> String {
    let out = latchhook.run("endpoint show bot").await.out;
    let row = out.lines().find_map(|line| line.trim().strip_prefix(name).map(|rest| rest.trim().to_owned()));
    row.unwrap_or_else(|| panic!("{out}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_says_since_when_how_often_and_why_in_words_for_people_and_as_data_for_scripts() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    failed(&pipeline, "bot", "abandoned", (1, 3), 404).await;
    failed(&pipeline, "bot", "pending", (4, 5), 503).await;
    failed(&pipeline, "other", "abandoned", (6, 9), 599).await;
    pipeline
        .execute("INSERT INTO gates (endpoint_id, failures, failing_since) VALUES ('bot', 8, '2026-11-20T09:00:00Z')")
        .await;

    let data = latchhook.json("endpoint show bot").await;
    let gate = cell(&latchhook, "gate").await;

    assert_eq!(gate, "failing since 2026-11-20T09:00:00Z, 8 in a row, last: status 503");
    assert_eq!(cell(&latchhook, "last failure").await, "status 503 at 2026-11-20T10:00:00Z");
    assert_eq!(cell(&latchhook, "abandoned").await, "3");
    assert_eq!((&data["gate"]["failures"], &data["gate"]["is_open"]), (&json!(8), &json!(false)));
    assert_eq!(
        data["last_failure"],
        json!({"outcome": "status", "http_status": 503, "started_at": "2026-11-20T10:00:00Z"})
    );
    assert_eq!((&data["abandoned"], &data["abandoned_or_more"]), (&json!(3), &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_has_limits_and_no_trouble_says_nothing_of_its_gate() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    latchhook.json("endpoint set bot --max-in-flight 2").await;

    let out = latchhook.run("endpoint show bot").await.out;

    assert!(!out.contains("1970"), "{out}");
    assert_eq!(
        (cell(&latchhook, "gate").await, cell(&latchhook, "last failure").await),
        ("-".to_owned(), "-".to_owned())
    );
    assert_eq!(
        (cell(&latchhook, "abandoned").await, cell(&latchhook, "max in flight").await),
        ("0".to_owned(), "2".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_counted_as_far_as_a_page_goes_and_no_more_is_read_for_it() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    failed(&pipeline, "bot", "abandoned", (1, 20_000), 404).await;
    failed(&pipeline, "bot", "pending", (20_001, 30_000), 503).await;
    pipeline.execute("ANALYZE").await;
    let mut connection = Database::new(&pipeline.test_database.url, 1).unwrap().connection().await.unwrap();
    connection.batch_execute("BEGIN").await.unwrap();

    let last = troubles::last_failure(&connection, &"bot".parse().unwrap()).await.unwrap().unwrap();
    troubles::abandoned(&connection, &"bot".parse().unwrap()).await.unwrap();

    for table in ["deliveries", "due", "attempts"] {
        let read = rows_read(&connection, table).await;
        assert!(read <= 2 * LOOKED_AT as i64, "{read} rows of {table} were read");
    }
    assert_eq!(last.http_status, Some(503));
    assert_eq!(cell(&latchhook, "abandoned").await, "2000 or more");
    let data = latchhook.json("endpoint show bot").await;
    assert_eq!((&data["abandoned"], &data["abandoned_or_more"]), (&json!(2_000), &json!(true)));
}
