//! What a step does with what an app has committed.

use forwarder::Step;
use serde_json::json;

use super::app::{App, now, write, write_as};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_enqueued_as_it_is_and_gone_from_the_outbox() {
    let app = App::new().await;
    let headers = json!({"X-Hub-Signature-256": "sha256=00", "Accept": "*/*"});
    app.write(Some("a"), "{\"one\": 1}").await;
    write_as(&app.sql, "wa", None, "no JSON \u{1f980}", &headers).await;

    let step = app.forward().await.unwrap();

    assert_eq!(step, Step::Forwarded { rows: 2, failed: 0 });
    let queued = app.queued().await;
    assert_eq!(app.queued_bodies().await, ["{\"one\": 1}", "no JSON \u{1f980}"]);
    assert!(queued.iter().all(|it| it.source_id.as_str() == "wa" && it.received_at == now()));
    assert_eq!(queued[1].headers, [("x-hub-signature-256".to_owned(), "sha256=00".to_owned())]);
    assert_eq!(app.outbox().await, [""; 0]);
    assert_eq!(app.forward().await.unwrap(), Step::Idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_headers_of_a_row_those_are_kept_that_the_intake_would_keep_and_no_secret() {
    let app = App::new().await;
    let settings = json!({"algorithm": "equal", "signature_header": "x-token", "key_header": "x-id"});
    app.has_source("recipe", "generic", None, &settings).await;
    app.has_source("bot", "telegram", None, &json!({})).await;
    let headers =
        json!({"X-Token": "secret", "X-Telegram-Bot-Api-Secret-Token": "secret", "X-Id": "1", "Cookie": "a=b"});
    for source in ["recipe", "bot"] {
        write_as(&app.sql, source, None, "{}", &headers).await;
    }

    app.forward().await.unwrap();

    let kept: Vec<_> = app.queued().await.into_iter().map(|raw_event| raw_event.headers).collect();
    assert_eq!(kept, [vec![("x-id".to_owned(), "1".to_owned())], vec![]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_or_not_committed_yet_is_not_forwarded() {
    let app = App::new().await;
    let open = app.session().await;
    open.batch_execute("BEGIN").await.unwrap();
    write(&open, Some("a"), "open").await;
    app.sql.batch_execute("BEGIN").await.unwrap();
    app.write(Some("a"), "rolled back").await;
    app.sql.batch_execute("ROLLBACK").await.unwrap();
    app.write(Some("a"), "committed").await;

    app.forward().await.unwrap();

    assert_eq!(app.queued_bodies().await, ["committed"]);
    open.batch_execute("COMMIT").await.unwrap();
    app.forward().await.unwrap();
    assert_eq!(app.queued_bodies().await, ["committed", "open"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_bounded_by_rows_and_by_bytes() {
    let app = App::new().await;
    let many = "INSERT INTO latchhook_outbox (source_id, body) SELECT 'wa', '{}' FROM generate_series(1, 600)";
    app.sql.batch_execute(many).await.unwrap();
    let large = "INSERT INTO latchhook_outbox (source_id, body) \
                 SELECT 'wa', convert_to(repeat('x', 1500000), 'UTF8') FROM generate_series(1, 5)";
    app.sql.batch_execute(large).await.unwrap();

    let mut rows = Vec::new();
    while let Step::Forwarded { rows: forwarded, failed: 0 } = app.forward().await.unwrap() {
        rows.push(forwarded);
    }

    assert_eq!(rows, [500, 103, 2], "500 rows; then as many as reach 4 MiB; then the rest");
}
