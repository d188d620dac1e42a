//! An app's own table beside the ledger: `conversations` of crates/worker/examples, whatever comes twice, dies or fails.

use std::{process::Command, time::Duration};

use futures::future::join_all;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tests::{Pipeline, Process, a_status, example, text, whatsapp};
use tokio::time::timeout;
use vocabulary::{Job, JobEntry, Replay, Stamp};
use worker::{Settings, Worker};

use crate::conversations::{Conversations, TABLE};

/// A pipeline whose workers keep conversations.
async fn keeping() -> (Pipeline, Worker) {
    let pipeline = Pipeline::new().await;
    pipeline.execute(TABLE).await;
    let worker = keeper(&pipeline);
    (pipeline, worker)
}

fn keeper(pipeline: &Pipeline) -> Worker {
    pipeline.another_worker_with(Settings { handler: Some(std::sync::Arc::new(Conversations)), ..Settings::default() })
}

/// A message: `wamid`, by `contact`.
fn by(contact: &str, wamid: &str) -> Value {
    let mut message = text(wamid, "hello");
    message["from"] = json!(contact);
    message
}

/// A request with these messages.
fn said(messages: &[(&str, &str)]) -> String {
    let messages: Vec<_> = messages.iter().map(|(contact, wamid)| by(contact, wamid)).collect();
    whatsapp(&[json!({ "messages": messages })])
}

/// The conversations are those of the ledger; gives with whom, and how many messages.
async fn as_the_ledger_says(pipeline: &Pipeline) -> Vec<(String, i64)> {
    let counted = "SELECT e.source_id, t.body #>> '{data,message,sender,id}' AS contact, count(*) AS messages \
                   FROM events e JOIN bodies b ON b.event_id = e.id AND b.format = 'full', \
                       LATERAL (SELECT convert_from(b.body, 'UTF8')::jsonb AS body) t \
                   WHERE t.body ->> 'type' = 'message_created' GROUP BY 1, 2";
    let kept = "SELECT source_id, contact, messages FROM conversations";
    let other =
        format!("SELECT count(*) FROM (({counted} EXCEPT {kept}) UNION ALL ({kept} EXCEPT {counted})) AS other");
    assert_eq!(pipeline.number(&other).await, 0, "conversations are not what the ledger says");
    let rows = pipeline.rows("SELECT contact, messages FROM conversations ORDER BY contact", &[]).await;
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn conversations(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected.iter().map(|(contact, messages)| ((*contact).to_owned(), *messages)).collect()
}

/// As a person would, by `latchhook quarantine replay`.
async fn replay(pipeline: &Pipeline, worker: &Worker, stamp: &Stamp, item: u32, body: &str) {
    let replay = Some(Replay { stamp: stamp.clone(), item: Some(item) });
    pipeline.inbound.replay(JobEntry { raw_event: tests::raw_event("wa", body.to_owned()), replay }).await.unwrap();
    worker.work(vec![pipeline.take().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_twice_changes_an_apps_tables_once() {
    let (pipeline, _) = keeping().await;
    let workers = [(); 3].map(|()| keeper(&pipeline));
    let bodies = [
        said(&[("4911", "wamid.1"), ("4922", "wamid.2"), ("4911", "wamid.1")]),
        said(&[("4922", "wamid.2"), ("4911", "wamid.3")]),
        a_status("wamid.out", "delivered"),
    ];

    for _ in 0..3 {
        let mut groups = Vec::new();
        for _ in &workers {
            let mut group = Vec::new();
            for body in &bodies {
                group.push(pipeline.enqueue(body.clone()).await);
            }
            groups.push(group);
        }
        join_all(workers.iter().zip(groups).map(|(worker, group)| worker.work(group))).await;
    }
    while pipeline.inbound.depth().await.unwrap().all() > 0 {
        workers[0].work(vec![pipeline.take().await]).await;
    }

    assert_eq!(as_the_ledger_says(&pipeline).await, conversations(&[("4911", 2), ("4922", 1)]));
}

/// It is killed while the second of three calls waits: the first has changed its conversation, and the events are written.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_killed_amid_its_handlers_has_changed_neither_its_tables_nor_the_ledger() {
    let (pipeline, _) = keeping().await;
    let killed = start(&pipeline).await;
    pipeline.execute("BEGIN; INSERT INTO conversations VALUES ('wa', '4922', 0, now())").await;
    let body = said(&[("4911", "wamid.1"), ("4922", "wamid.2"), ("4933", "wamid.3")]);
    pipeline.inbound.enqueue(&[Job::of([tests::raw_event("wa", body)])]).await.unwrap();
    pipeline.somebody_waits_for_us().await;

    drop(killed);
    pipeline.execute("ROLLBACK").await;
    let after_death = as_the_ledger_says(&pipeline).await;
    let _again = start(&pipeline).await;

    assert_eq!(after_death, []);
    let all = async {
        while pipeline.number("SELECT count(*) FROM events").await < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(120), all).await.expect("what the dead had in hand comes back");
    assert_eq!(as_the_ledger_says(&pipeline).await, conversations(&[("4911", 1), ("4922", 1), ("4933", 1)]));
}

/// The example as a process; killed when dropped.
async fn start(pipeline: &Pipeline) -> Process {
    let mut command = Command::new(example("conversations"));
    command
        .env("DATABASE_URL", &pipeline.test_database.url)
        .env("REDIS_URL", &pipeline.test_redis.url)
        .env("LATCHHOOK_PREFIX", &pipeline.test_redis.prefix)
        .env("LATCHHOOK_MASTER_KEY", pipeline.master_key.expose_secret());
    let mut process = Process::spawn(command, "conversations are kept").await;
    assert!(process.ended().is_none(), "{}", process.log());
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_refuses_is_quarantined_alone_and_recorded_by_its_replay() {
    let (pipeline, worker) = keeping().await;
    pipeline.execute("ALTER TABLE conversations ADD CONSTRAINT wrong CHECK (contact <> '4966')").await;
    let body = said(&[("4911", "wamid.1"), ("4966", "wamid.2"), ("4911", "wamid.3")]);
    let held = pipeline.enqueue(body.clone()).await;
    let stamp = held.first.clone().unwrap();

    worker.work(vec![held]).await;
    let before = (pipeline.quarantined().await, as_the_ledger_says(&pipeline).await);
    let why: String = pipeline.rows("SELECT detail FROM quarantine", &[]).await[0].get(0);
    pipeline.execute("ALTER TABLE conversations DROP CONSTRAINT wrong").await;
    replay(&pipeline, &worker, &stamp, 1, &body).await;

    assert_eq!(before, (vec![(1, "handler".to_owned())], conversations(&[("4911", 2)])));
    assert!(why.contains("wamid.2") && why.contains("\"wrong\""), "{why}");
    assert_eq!(pipeline.quarantined().await, []);
    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.3", "wamid.2"]);
    assert_eq!(as_the_ledger_says(&pipeline).await, conversations(&[("4911", 2), ("4966", 1)]));
}

/// Makes whatever changes a conversation with 4977 take longer than any deadline.
const SLOW: &str = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
                        $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$; \
                    CREATE TRIGGER slow BEFORE INSERT ON conversations FOR EACH ROW \
                        WHEN (NEW.contact = '4977') EXECUTE FUNCTION slow()";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_slow_comes_later_and_is_quarantined_when_it_is_slow_alone() {
    let (pipeline, worker) = keeping().await;
    pipeline.execute(SLOW).await;
    let body = said(&[("4911", "wamid.1"), ("4977", "wamid.2"), ("4911", "wamid.3")]);
    let held = pipeline.enqueue(body.clone()).await;
    let stamp = held.first.clone().unwrap();

    worker.work(vec![held]).await;
    let once = (pipeline.quarantined().await, as_the_ledger_says(&pipeline).await);
    worker.work(vec![pipeline.take().await]).await;
    let twice = pipeline.quarantined().await;
    pipeline.execute("DROP TRIGGER slow ON conversations").await;
    replay(&pipeline, &worker, &stamp, 1, &body).await;

    assert_eq!(once, (vec![], conversations(&[("4911", 2)])));
    assert_eq!(twice, [(1, "handler".to_owned())]);
    assert_eq!(pipeline.quarantined().await, []);
    assert_eq!(as_the_ledger_says(&pipeline).await, conversations(&[("4911", 2), ("4977", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_slow_once_is_recorded_when_it_is_not_again() {
    let (pipeline, worker) = keeping().await;
    pipeline.execute(SLOW).await;
    let held = pipeline.enqueue(said(&[("4977", "wamid.1")])).await;

    worker.work(vec![held]).await;
    pipeline.execute("DROP TRIGGER slow ON conversations").await;
    worker.work(vec![pipeline.take().await]).await;

    assert_eq!(pipeline.quarantined().await, []);
    assert_eq!(as_the_ledger_says(&pipeline).await, conversations(&[("4977", 1)]));
}

/// Whatever the app's constraint triggers do when their time comes, they do it to a conversation with 4966.
const DEFERRED: &str = "CREATE CONSTRAINT TRIGGER deferred AFTER INSERT OR UPDATE ON conversations \
                        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.contact = '4966') EXECUTE FUNCTION deferred()";

async fn at_commit_a_constraint_does(what: &str, why: &str) {
    let (pipeline, worker) = keeping().await;
    let function =
        format!("CREATE FUNCTION deferred() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; RETURN NULL; END $$");
    pipeline.execute(&function).await;
    pipeline.execute(DEFERRED).await;
    let body = said(&[("4911", "wamid.1"), ("4966", "wamid.2"), ("4911", "wamid.3"), ("4922", "wamid.4")]);
    let held = pipeline.enqueue(body.clone()).await;
    let stamp = held.first.clone().unwrap();

    worker.work(vec![held]).await;
    let before = (pipeline.quarantined().await, as_the_ledger_says(&pipeline).await);
    let waits = pipeline.inbound.depth().await.unwrap().all();
    let detail: String = pipeline.rows("SELECT detail FROM quarantine", &[]).await[0].get(0);
    pipeline.execute("DROP TRIGGER deferred ON conversations").await;
    replay(&pipeline, &worker, &stamp, 1, &body).await;

    assert_eq!(before, (vec![(1, "handler".to_owned())], conversations(&[("4911", 2), ("4922", 1)])));
    assert_eq!(waits, 0, "nothing comes again");
    assert!(detail.contains("wamid.2") && detail.contains(why), "{detail}");
    assert_eq!(as_the_ledger_says(&pipeline).await, conversations(&[("4911", 2), ("4922", 1), ("4966", 1)]));
    assert_eq!(pipeline.quarantined().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_apps_tables_refuse_at_commit_is_quarantined_alone_and_recorded_by_its_replay() {
    at_commit_a_constraint_does("RAISE EXCEPTION 'no more messages'", "no more messages").await;
    at_commit_a_constraint_does("PERFORM 1 FROM missing", "\"missing\" does not exist").await;
    at_commit_a_constraint_does("PERFORM pg_sleep(60)", "statement timeout").await;
}

/// A lock is held for as long as it takes: an ALTER TABLE, say.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_lock_comes_later_however_often_and_is_never_quarantined() {
    let (pipeline, worker) = keeping().await;
    pipeline.execute("BEGIN; LOCK TABLE conversations").await;
    let held = pipeline.enqueue(said(&[("4911", "wamid.1")])).await;

    worker.work(vec![held]).await;
    for _ in 0..3 {
        worker.work(vec![pipeline.take().await]).await;
    }
    pipeline.execute("ROLLBACK").await;
    let meanwhile = (pipeline.keys().await, pipeline.quarantined().await);
    worker.work(vec![pipeline.take().await]).await;

    assert_eq!(meanwhile, (vec![], vec![]));
    assert_eq!(as_the_ledger_says(&pipeline).await, conversations(&[("4911", 1)]));
}
