//! What is logged of trouble with Postgres: what it is, whole, so that nobody looks for another one.

use serde_json::Value;
use tests::{Pipeline, Process, a_text};

/// Waits until a dispatcher says these words at the end of a message, and gives that line: production logs are JSON.
async fn said(dispatcher: &mut Process, words: &str) -> Value {
    dispatcher.says(words, 1).await;
    let log = dispatcher.log();
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.find(|line| line["fields"]["message"].as_str().unwrap().ends_with(words)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_a_log_of_json_is_told_with_all_that_it_comes_from() {
    let pipeline = Pipeline::new().await;
    // Before it starts: between its two questions about that table the second would be the one that fails.
    pipeline.execute("ALTER TABLE due RENAME TO overdue").await;

    let mut dispatcher = Process::start(&pipeline, "dispatcher", None, &[]).await;
    let said = said(&mut dispatcher, "; dispatching pauses").await;

    assert_eq!(said["fields"]["error"], "deliveries cannot be leased: relation \"due\" does not exist");
    assert_eq!(said["fields"]["message"], "Postgres refuses; dispatching pauses");
    assert_eq!((&said["level"], &said["target"]), (&"ERROR".into(), &"dispatcher::dispatcher".into()));
    assert!(said["timestamp"].is_string(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_of_others_are_not_called_a_postgres_that_is_away() {
    let pipeline = Pipeline::new().await;
    let mut dispatcher = Process::start(&pipeline, "dispatcher", None, &[]).await;

    pipeline.execute("BEGIN; LOCK TABLE due").await;
    let said = said(&mut dispatcher, "; dispatching pauses").await;

    assert_eq!(said["fields"]["message"], "others hold locks in Postgres; dispatching pauses");
    assert!(said["fields"]["error"].as_str().unwrap().ends_with("canceling statement due to lock timeout"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_that_cannot_be_given_back_are_not_called_deliveries_that_cannot_be_leased() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.1", "hello")).await;
    // It is leased, found to be for a later version, and given back: in vain.
    let refused = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$; \
        CREATE TRIGGER refused BEFORE UPDATE ON due FOR EACH ROW WHEN (NEW.lease IS NULL) EXECUTE FUNCTION refuse(); \
        UPDATE accounts SET allowed_private = '{010.0.0.0/8}'";
    pipeline.execute(refused).await;

    let mut dispatcher = Process::start(&pipeline, "dispatcher", None, &[]).await;
    let said = said(&mut dispatcher, "1 leases are waited for to end").await;

    assert_eq!(said["fields"]["error"], "leases cannot be given back: not now");
}
