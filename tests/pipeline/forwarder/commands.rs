//! `latchhook outbox`, and what `run --roles forwarder` asks for.

use serde_json::{Value, json};

use super::{
    app::{App, write_as},
    crash::start_at,
};

/// Runs a line over the app's outbox alone; what it prints, or its one line when it fails.
async fn latchhook(app: &App, line: &str) -> Result<String, String> {
    latchhook_at(&app.database.url, line).await
}

async fn latchhook_at(outbox: &str, line: &str) -> Result<String, String> {
    let url = format!("--outbox-url={outbox}");
    run(line.split(' ').map(str::to_owned).chain([url])).await
}

async fn run(words: impl Iterator<Item = String>) -> Result<String, String> {
    let mut out = Vec::new();
    let ended = latchhook::cli::run(["latchhook".to_owned()].into_iter().chain(words), &mut out).await;
    ended.map(|_| String::from_utf8(out).unwrap()).map_err(|failure| failure.to_string())
}

async fn status(app: &App) -> Value {
    serde_json::from_str(&latchhook(app, "outbox status --json").await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_what_waits_and_what_was_put_aside_for_what_reason() {
    let app = App::new().await;
    write_as(&app.sql, "nobody", Some("a"), "{}", &json!({})).await;
    write_as(&app.sql, "nobody", Some("a"), "{}", &json!({})).await;
    app.forward().await.unwrap();
    app.write(Some("a"), "{}").await;
    app.sql
        .batch_execute("UPDATE latchhook_outbox SET created_at = now() - interval '1 hour' WHERE id = 2")
        .await
        .unwrap();

    let status = status(&app).await;

    let depth = &status["depth"];
    assert_eq!([&depth["waiting"], &depth["behind_failed"], &depth["failed"]], [2, 1, 1]);
    assert!(depth["oldest_seconds"].as_f64().unwrap() >= 3600.0, "{depth}");
    let failed = &status["failed"][0];
    assert_eq!([&failed["id"], &failed["behind"]], [1, 1]);
    assert_eq!([&failed["source_id"], &failed["key"]], ["nobody", "a"]);
    assert!(failed["error"].as_str().unwrap().contains("no enabled source \"nobody\""), "{failed}");
    assert!(latchhook(&app, "outbox status").await.unwrap().contains("no enabled source"));
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_has_those_tried_again_that_are_meant_and_names_what_is_no_failed_row() {
    let app = App::new().await;
    for source in ["one", "one", "two", "three"] {
        write_as(&app.sql, source, None, "{}", &json!({})).await;
    }
    app.write(None, "{}").await;
    app.forward().await.unwrap();
    let failed = async || app.reasons().await.into_iter().map(|(id, _)| id).collect::<Vec<_>>();

    assert_eq!(failed().await, [1, 2, 3, 4]);
    let error = latchhook(&app, "outbox retry 1 99").await.unwrap_err();
    assert!(error.ends_with("retried 1; no failed row is called 99"), "{error}");
    assert_eq!(failed().await, [2, 3, 4]);
    latchhook(&app, "outbox retry --source one").await.unwrap();
    assert_eq!(failed().await, [3, 4]);
    latchhook(&app, "outbox retry --all").await.unwrap();
    assert_eq!(failed().await, [0; 0]);
    assert!(latchhook(&app, "outbox retry").await.unwrap_err().contains("see --help"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sql_prints_makes_the_table_and_without_it_one_is_told_so() {
    let app = App::new().await;
    app.sql.batch_execute("DROP TABLE latchhook_outbox").await.unwrap();
    let error = latchhook(&app, "outbox status").await.unwrap_err();
    assert!(error.ends_with("make it in the app's database, with what this prints: latchhook outbox sql"), "{error}");

    let sql = latchhook(&app, "outbox sql").await.unwrap();
    app.sql.batch_execute(&sql).await.unwrap();

    assert_eq!(status(&app).await["depth"]["waiting"], 0);
    let long = "INSERT INTO latchhook_outbox (source_id, key, body) VALUES ('wa', repeat('k', 513), '')";
    let refused = app.sql.batch_execute(long).await.unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("key_has_at_most_512_bytes"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarder_without_an_outbox_says_what_to_set_and_asks_for_nothing_else() {
    let redis = tests::redis().await.url;
    let line = format!("run --roles forwarder --listen 127.0.0.1:0 --redis-url {redis}");

    let missing = run(line.split(' ').map(str::to_owned)).await.unwrap_err();
    let wrong = run(format!("{line} --outbox-url nonsense").split(' ').map(str::to_owned)).await.unwrap_err();

    assert!(missing.contains("LATCHHOOK_OUTBOX_URL is not set"), "{missing}");
    assert!(wrong.contains("LATCHHOOK_OUTBOX_URL is not a Postgres URL"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_keep_rows_from_a_forwarder_without_a_word_is_said_by_status_and_as_it_starts() {
    let app = App::new().await;
    app.sql.batch_execute("ALTER TABLE latchhook_outbox ENABLE ROW LEVEL SECURITY").await.unwrap();
    let outbox = app.as_another_role("SELECT, UPDATE").await;
    app.write(None, "hidden").await;

    let said = latchhook_at(&outbox, "outbox status --json").await.unwrap();
    let mut forwarder = start_at(&app, &outbox, None).await;
    forwarder.says("row-level security of latchhook_outbox holds for pg_monitor", 1).await;

    let (said, own): (Value, _) = (serde_json::from_str(&said).unwrap(), status(&app).await);
    let obstacles = said["obstacles"].as_array().unwrap();
    let missing = "pg_monitor may not DELETE in latchhook_outbox: GRANT DELETE ON latchhook_outbox TO pg_monitor";
    assert_eq!((obstacles.len(), obstacles[0].as_str()), (2, Some(missing)), "{said}");
    assert!(obstacles[1].as_str().unwrap().contains("holds for pg_monitor: what no policy shows it"), "{said}");
    assert_eq!((&own["obstacles"], &own["depth"]["waiting"]), (&json!([]), &json!(1)), "who owns it sees it all");
    assert!(forwarder.stop().await.contains(missing));
}
