//! Promise 3: told once it is true, to those who want to hear it.

use std::sync::Arc;

use futures::FutureExt;
use serde_json::json;
use tests::{Pipeline, a_reaction, a_text};
use tokio::sync::Notify;
use worker::{Sources, Worker};

/// 51: subscribed, exactly one per subscription; other types only, none; nobody, none.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_owed_once_to_each_endpoint_of_its_account_that_wants_its_type() {
    let pipeline = Pipeline::new().await;
    pipeline.add_endpoint("acme", "crm", "message_created").await;
    pipeline.add_endpoint("acme", "receipts", "message_updated").await;
    pipeline.add_account("other").await;
    pipeline.add_endpoint("other", "theirs", "*").await;

    pipeline.receive(a_text("wamid.1", "hello")).await;

    let owed = pipeline.rows("SELECT endpoint_id FROM deliveries ORDER BY 1", &[]).await;
    assert_eq!(owed.iter().map(|row| row.get(0)).collect::<Vec<&str>>(), ["bot", "crm"]);
    assert_eq!(pipeline.number("SELECT deliveries_owed::bigint FROM events").await, 2);
    assert_eq!(pipeline.number("SELECT count(*) FROM bodies").await, 1);
}

/// While somebody is down each transaction owes him something: to look for that in vain takes time from those who are not.
#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_is_woken_for_what_can_be_sent_and_not_for_an_endpoint_that_rests() {
    let pipeline = Pipeline::new().await;
    let wake = Arc::new(Notify::new());
    let sources = Sources::new(pipeline.database.clone(), pipeline.master.clone(), &pipeline.redis);
    let worker = Worker::builder(&pipeline.redis, pipeline.database.clone(), sources).wake(wake.clone()).build();
    pipeline.execute("INSERT INTO gates (endpoint_id, failures) VALUES ('bot', 1)").await;

    worker.work(vec![pipeline.enqueue(a_text("wamid.failing", "hello")).await]).await;
    let for_failing = wake.notified().now_or_never();
    pipeline.execute("UPDATE gates SET rests_until = now() + interval '1 hour'").await;
    worker.work(vec![pipeline.enqueue(a_text("wamid.resting", "hello")).await]).await;
    let for_resting = wake.notified().now_or_never();

    assert_eq!((for_failing, for_resting), (Some(()), None));
    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owed_to_a_disabled_endpoint_is_held_not_dropped() {
    let pipeline = Pipeline::new().await;
    pipeline.execute("UPDATE endpoints SET enabled = false").await;

    pipeline.receive(a_text("wamid.1", "hello")).await;

    assert_eq!(pipeline.number("SELECT count(*) FROM deliveries WHERE state = 'pending'").await, 1);
}

/// 53: no commit, no webhook, whichever statement of the transaction it is that fails.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_before_commit_nothing_is_recorded_and_nobody_is_told() {
    let pipeline = Pipeline::new().await;

    for table in ["messages", "deliveries", "bodies", "receipts"] {
        pipeline.execute(&format!("ALTER TABLE {table} ADD CONSTRAINT never CHECK (false) NOT VALID")).await;
        pipeline.receive(a_text(&format!("wamid.{table}"), "hello")).await;
        pipeline.execute(&format!("ALTER TABLE {table} DROP CONSTRAINT never")).await;
    }

    assert!(pipeline.keys().await.is_empty());
    assert_eq!(pipeline.number("SELECT count(*) FROM deliveries").await, 0);
    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 0);
}

/// Promise 4: the id is of what the provider sent, and of nothing that Postgres made up.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_postgres_lost_and_recorded_again_is_told_under_the_id_that_it_had() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.1", "hello")).await;
    let before = webhook_ids(&pipeline).await;

    pipeline.execute("TRUNCATE events, bodies, deliveries, due, messages, receipts, source_sequences").await;
    pipeline.receive(a_text("wamid.1", "hello")).await;

    assert_eq!(before.len(), 1);
    assert_eq!(webhook_ids(&pipeline).await, before);
}

async fn webhook_ids(pipeline: &Pipeline) -> Vec<String> {
    let rows = pipeline.rows("SELECT webhook_id FROM deliveries", &[]).await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// 74 (C20): the seed builds the payload late, from what the row has become.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_is_how_it_stood_at_commit() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.1", "hello")).await;

    pipeline.receive(a_reaction("wamid.2", "wamid.1", "👍")).await;

    let told = pipeline.told().await;
    assert_eq!(told[0]["data"]["message"]["reactions"], json!([]));
    assert_eq!(told[1]["data"]["message"]["reactions"][0]["emoji"], "👍");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_is_what_standard_webhooks_and_the_surface_say() {
    let pipeline = Pipeline::new().await;

    pipeline.receive(a_text("wamid.1", "hello")).await;

    let body = pipeline.told().await.remove(0);
    assert_eq!(body["type"], "message_created");
    assert_eq!(body["timestamp"], "2026-02-13T16:26:40Z");
    let data = &body["data"];
    assert_eq!(
        (&data["source_id"], &data["account_id"], &data["key"]),
        (&json!("wa"), &json!("acme"), &json!("wamid.1"))
    );
    assert_eq!(data["sequence"], 1);
    let message = &data["message"];
    assert_eq!(
        (&message["direction"], &message["kind"], &message["status"]),
        (&json!("incoming"), &json!("text"), &json!(null))
    );
    assert_eq!((&message["content"], &message["external_id"]), (&json!("hello"), &json!("wamid.1")));
    assert_eq!(message["sender"]["phone"], "15550101234");
    assert_eq!(data["raw"]["text"]["body"], "hello");
}

/// 73 (C13): receivers can order by it.
#[tokio::test(flavor = "multi_thread")]
async fn sequences_are_without_gaps_however_many_workers_commit_at_once() {
    let pipeline = Pipeline::new().await;
    let mut racing = Vec::new();
    for n in 0..40 {
        let (worker, held) =
            (pipeline.another_worker(), pipeline.enqueue(a_text(&format!("wamid.{}", n % 30), "hello")).await);
        racing.push(tokio::spawn(async move { worker.work(vec![held]).await }));
    }

    futures::future::join_all(racing).await;

    let rows = pipeline.rows("SELECT sequence FROM events ORDER BY sequence", &[]).await;
    let sequences: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(sequences, (1..=sequences.len() as i64).collect::<Vec<_>>());
    assert_eq!(pipeline.number("SELECT last FROM source_sequences").await, sequences.len() as i64);
}

/// A plan made while the ledger was empty must not read all of it when it has grown: Postgres keeps plans, and asks nobody.
#[tokio::test(flavor = "multi_thread")]
async fn no_statement_of_the_transaction_reads_a_whole_table() {
    let pipeline = Pipeline::new().await;
    for n in 0..8 {
        pipeline.receive(a_text(&format!("wamid.{n}"), "hello")).await;
        pipeline.receive(a_reaction(&format!("wamid.r{n}"), &format!("wamid.{n}"), "👍")).await;
        pipeline.receive(a_text(&format!("wamid.{n}"), "hello")).await;
    }

    let counted = "SELECT sum(seq_scan)::bigint, sum(n_tup_ins)::bigint FROM pg_stat_user_tables \
                   WHERE relname IN ('events', 'messages', 'bodies', 'deliveries', 'receipts', 'changes_awaiting')";
    let row = loop {
        let row = pipeline.rows(counted, &[]).await.remove(0);
        // 16 events, bodies and deliveries, 8 messages, 24 receipts: Postgres tells them a little late.
        if row.get::<_, i64>(1) == 80 {
            break row;
        }
    };

    assert_eq!(row.get::<_, i64>(0), 0);
}
