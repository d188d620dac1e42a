//! The book: a worker reads the endpoints of an account once, and uses them exactly as they stand in each transaction.

use std::sync::Arc;

use tests::{Pipeline, a_text, raw_event};
use vocabulary::{Job, Terms};
use worker::{Settings, Worker};

use crate::handed::Grave;

/// A worker whose book has the account `acme` from a first event, `wamid.0`, and its desk, cleared.
async fn with_acme_in_its_book(pipeline: &Pipeline) -> (Worker, Arc<Grave>) {
    let desk = Arc::new(Grave::default());
    let worker = pipeline.another_worker_with(Settings { desk: Some(desk.clone()), ..Settings::default() });
    worker.work(vec![pipeline.enqueue(a_text("wamid.0", "hello")).await]).await;
    desk.taken.lock().unwrap().clear();
    (worker, desk)
}

/// Who is owed an event.
async fn owed(pipeline: &Pipeline, key: &str) -> Vec<String> {
    let query = "SELECT endpoint_id FROM deliveries d JOIN events e ON e.id = d.event_id WHERE e.key = $1 ORDER BY 1";
    pipeline.rows(query, &[&key]).await.iter().map(|row| row.get(0)).collect()
}

async fn work(pipeline: &Pipeline, worker: &Worker, key: &str) {
    worker.work(vec![pipeline.enqueue(a_text(key, "hello")).await]).await;
}

/// How many rows of `endpoints` were read by account so far, and how many in whole, once Postgres has counted so many
/// deliveries: it tells them a little late, and those of a connection together, at its end if not before.
async fn endpoints_read(pipeline: &Pipeline, deliveries: i64) -> (i64, i64) {
    let others = "datname = current_database() AND pid <> pg_backend_pid()";
    pipeline.execute(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")).await;
    let counted = "SELECT (SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'deliveries'), \
                       (SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'endpoints_by_account'), \
                       (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'endpoints')";
    loop {
        let row = pipeline.rows(counted, &[]).await.remove(0);
        if row.get::<_, i64>(0) >= deliveries {
            return (row.get(1), row.get(2));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_was_added_before_a_transaction_is_owed_its_events() {
    let pipeline = Pipeline::new().await;
    let (worker, _) = with_acme_in_its_book(&pipeline).await;

    pipeline.add_endpoint("acme", "crm", "*").await;
    work(&pipeline, &worker, "wamid.1").await;
    pipeline.add_endpoint("acme", "crm", "message_updated").await;
    work(&pipeline, &worker, "wamid.2").await;

    assert_eq!(owed(&pipeline, "wamid.0").await, ["bot"]);
    assert_eq!(owed(&pipeline, "wamid.1").await, ["bot", "crm"]);
    assert_eq!(owed(&pipeline, "wamid.2").await, ["bot"], "crm has other terms since");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_and_sources_that_were_changed_before_a_transaction_decide_what_it_owes() {
    let pipeline = Pipeline::new().await;
    let (worker, _) = with_acme_in_its_book(&pipeline).await;
    let only = r#"{"pointer": "/data/key", "equals": "wamid.2"}"#;

    pipeline.add_endpoint_on("acme", "bot", &Terms { filter: Some(only.parse().unwrap()), ..of_all() }).await;
    for key in ["wamid.1", "wamid.2"] {
        work(&pipeline, &worker, key).await;
    }
    pipeline.add_endpoint_on("acme", "bot", &Terms { sources: Some(vec!["wa2".parse().unwrap()]), ..of_all() }).await;
    work(&pipeline, &worker, "wamid.3").await;
    pipeline.add_source("acme", "wa2").await;
    worker.work(vec![pipeline.enqueue_from("wa2", a_text("wamid.4", "hello")).await]).await;

    let mut told = Vec::new();
    for key in ["wamid.1", "wamid.2", "wamid.3", "wamid.4"] {
        told.push(owed(&pipeline, key).await.len());
    }
    assert_eq!(told, [0, 1, 0, 1]);
}

fn of_all() -> Terms {
    Terms::of("*".parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_over_is_signed_by_the_secrets_of_the_transaction_and_goes_where_it_said() {
    let pipeline = Pipeline::new().await;
    let (worker, desk) = with_acme_in_its_book(&pipeline).await;

    pipeline.execute("UPDATE endpoints SET secrets = secrets || '\\x01'::bytea, url = 'https://moved.example/'").await;
    work(&pipeline, &worker, "wamid.1").await;

    let taken = desk.taken.lock().unwrap().pop().unwrap();
    let row = pipeline.rows("SELECT url, secrets FROM endpoints", &[]).await.remove(0);
    assert_eq!((taken.target.url.as_str(), &taken.target.secrets), (row.get(0), &row.get(1)));
    assert_eq!((taken.target.url.as_str(), taken.target.secrets.len()), ("https://moved.example/", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_an_account_was_given_before_a_transaction_go_with_what_it_hands_over_and_end_likewise() {
    let pipeline = Pipeline::new().await;
    let (worker, desk) = with_acme_in_its_book(&pipeline).await;
    pipeline.add_account("other").await;

    let mut handed_over = Vec::new();
    for (key, account, ranges) in
        [("a", "acme", "{10.0.0.0/8,fd12::/32}"), ("b", "other", "{10.1.0.0/16}"), ("c", "acme", "{}")]
    {
        pipeline.execute(&format!("UPDATE accounts SET allowed_private = '{ranges}' WHERE id = '{account}'")).await;
        work(&pipeline, &worker, &format!("wamid.{key}")).await;
        handed_over.push(desk.taken.lock().unwrap().pop().unwrap().target.allowed_private.join(","));
    }

    assert_eq!(handed_over, ["10.0.0.0/8,fd12::/32", "10.0.0.0/8,fd12::/32", ""]);
}

/// A gate is no change of the endpoint, and no reason to read it again.
#[tokio::test(flavor = "multi_thread")]
async fn whether_an_endpoint_is_disabled_or_has_a_gate_is_seen_by_the_next_transaction() {
    let pipeline = Pipeline::new().await;
    let (worker, desk) = with_acme_in_its_book(&pipeline).await;
    let changes = [
        "UPDATE endpoints SET enabled = false",
        "UPDATE endpoints SET enabled = true",
        "INSERT INTO gates (endpoint_id, failures) VALUES ('bot', 1)",
        "DELETE FROM gates",
        "UPDATE endpoints SET max_in_flight = 1",
    ];

    let mut handed_over = Vec::new();
    for (n, change) in changes.iter().enumerate() {
        pipeline.execute(change).await;
        work(&pipeline, &worker, &format!("wamid.n{n}")).await;
        handed_over.push(desk.taken.lock().unwrap().drain(..).count());
    }

    assert_eq!(handed_over, [0, 1, 0, 1, 0]);
    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 6, "all of it is owed");
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_did_not_change_are_read_by_the_first_transaction_alone() {
    let pipeline = Pipeline::new().await;
    for n in 1..10 {
        pipeline.add_endpoint("acme", &format!("bot{n}"), "*").await;
    }
    pipeline.add_account("other").await;
    pipeline.add_endpoint("other", "theirs", "*").await;

    for n in 0..8 {
        pipeline.execute("DELETE FROM gates; INSERT INTO gates (endpoint_id) VALUES ('bot')").await;
        pipeline.add_endpoint("other", "theirs", "message_*").await;
        pipeline.receive(a_text(&format!("wamid.{n}"), "hello")).await;
    }

    assert_eq!(endpoints_read(&pipeline, 80).await, (10, 0));
}

/// Of an installation with many accounts a group may concern all.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_accounts_in_one_group_are_each_told_their_own_and_read_once() {
    let pipeline = Pipeline::new().await;
    pipeline
        .execute(
            "INSERT INTO accounts (id, name) SELECT 'a' || n, 'a' FROM generate_series(1, 1000) n; \
             INSERT INTO sources (id, account_id, name, provider, secrets, settings) \
                 SELECT 's' || n, 'a' || n, 's', 'whatsapp', '{}', s.settings FROM generate_series(1, 1000) n, sources s; \
             INSERT INTO endpoints (id, account_id, url, secrets, event_types) \
                 SELECT 'e' || n || '-' || m, 'a' || n, 'https://bot.example/', '{}', '{*}' \
                 FROM generate_series(1, 1000) n, generate_series(1, 10) m",
        )
        .await;
    let worker = pipeline.another_worker_with(Settings { transaction_items: 1000, ..Settings::default() });

    for round in 0..2 {
        let job = Job::of((1..=1000).map(|n| raw_event(&format!("s{n}"), a_text(&format!("wamid.{round}"), "hello"))));
        pipeline.inbound.enqueue(&[job]).await.unwrap();
        worker.work(vec![pipeline.take().await]).await;
    }

    assert_eq!(worker.counters().transactions.get(), 2);
    let own = "SELECT count(*) FROM deliveries d JOIN events v ON v.id = d.event_id JOIN sources s ON s.id = v.source_id \
               JOIN endpoints e ON e.id = d.endpoint_id AND e.account_id = s.account_id";
    assert_eq!(pipeline.number(own).await, 20_000);
    assert_eq!(pipeline.number("SELECT count(*) FROM deliveries").await, 20_000, "and nobody else's");
    assert_eq!(endpoints_read(&pipeline, 20_000).await.0, 10_000);
}

/// A row of a later version, or of somebody else's hand. Nothing is lost: its account's events wait until it is mended.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_cannot_be_read_holds_its_account_up_and_nothing_of_it_is_kept() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.0", "hello")).await;
    pipeline.add_endpoint("acme", "crm", "*").await;
    pipeline.execute("ALTER TABLE endpoints DROP CONSTRAINT endpoints_format_check").await;

    pipeline.execute("UPDATE endpoints SET format = 'odd' WHERE id = 'crm'").await;
    pipeline.receive(a_text("wamid.1", "hello")).await;
    let while_odd = pipeline.keys().await;
    pipeline.execute("UPDATE endpoints SET format = 'thin' WHERE id = 'crm'").await;
    pipeline.worker.work(vec![pipeline.take().await]).await;

    assert_eq!(while_odd, ["wamid.0"]);
    assert_eq!(pipeline.quarantined().await, []);
    assert_eq!(owed(&pipeline, "wamid.1").await, ["bot", "crm"]);
}
