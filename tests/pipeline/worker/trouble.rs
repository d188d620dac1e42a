//! Promise 2: never lost, whatever Postgres, Redis or the work itself does.

use std::time::Duration;

use database::receipts::Receipt;
use serde_json::json;
use tests::{Pipeline, a_text, text, whatsapp};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use vocabulary::{Job, JobEntry, Replay, Stamp};

/// 53: the work fails before COMMIT (here: Postgres refuses a row), alone; its mates of the group are committed.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_postgres_refuses_goes_to_quarantine_and_the_rest_of_its_group_is_committed() {
    let pipeline = Pipeline::new().await;
    let mut group = Vec::new();
    for n in 0..5 {
        group.push(pipeline.enqueue(a_text(&format!("wamid.{n}"), "hello")).await);
    }
    pipeline.execute("ALTER TABLE messages ADD CHECK (external_id <> 'wamid.poison')").await;
    group.push(pipeline.enqueue(a_text("wamid.poison", "hello")).await);

    pipeline.worker.work(group).await;

    assert_eq!(pipeline.number("SELECT count(*) FROM events").await, 5);
    assert_eq!(pipeline.quarantined().await, [(0, "refused by Postgres".to_owned())]);
    assert_eq!(pipeline.number("SELECT count(*) FROM receipts WHERE ended_at IS NOT NULL").await, 6);
}

/// Infrastructure trouble never sends work to quarantine, nor to apalis's dead set.
#[tokio::test(flavor = "multi_thread")]
async fn work_that_meets_a_lock_is_deferred_and_recorded_later() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.0", "first")).await;
    pipeline.execute("BEGIN; SELECT * FROM source_sequences FOR UPDATE").await;

    pipeline.receive(a_text("wamid.1", "hello")).await;

    let depth = pipeline.inbound.depth().await.unwrap();
    assert_eq!((depth.scheduled, depth.dead), (1, 0));
    pipeline.execute("ROLLBACK").await;
    pipeline.worker.work(vec![pipeline.take().await]).await;
    assert_eq!(pipeline.keys().await, ["wamid.0", "wamid.1"]);
    assert_eq!(pipeline.quarantined().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_jobs_are_deferred_and_nothing_is_quarantined() {
    let pipeline = Pipeline::new().await;
    let held = pipeline.enqueue(a_text("wamid.1", "hello")).await;
    let away = database::Database::new("postgres://nobody@127.0.0.1:1/nothing?connect_timeout=1", 1).unwrap();
    let sources = worker::Sources::new(pipeline.database.clone(), pipeline.master.clone(), &pipeline.redis);
    let cut_off = worker::Worker::builder(&pipeline.redis, away, sources).build();

    cut_off.work(vec![held]).await;

    let depth = pipeline.inbound.depth().await.unwrap();
    assert_eq!((depth.scheduled, depth.inflight, depth.dead), (1, 0, 0));
    assert_eq!(pipeline.quarantined().await, []);
    assert_eq!(pipeline.claim_keys().await, [""; 0], "failed work releases at once");
}

/// A full disk, too little memory, a statement that took too long: the same work succeeds when that is over.
#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_cannot_do_just_now_is_deferred_and_not_quarantined() {
    let troubles = [
        ("53100", "could not extend file: No space left on device"),
        ("53200", "out of memory"),
        ("57014", "canceling statement due to statement timeout"),
        ("57P01", "terminating connection due to administrator command"),
        ("58030", "could not read block 0: Input/output error"),
    ];
    let pipeline = Pipeline::new().await;
    let mut jobs = Vec::new();
    for (code, _) in troubles {
        jobs.push(pipeline.enqueue(a_text(&format!("wamid.{code}"), "hello")).await);
    }

    for ((code, message), held) in troubles.into_iter().zip(jobs) {
        let raise = format!(
            "CREATE OR REPLACE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{code}'; END $$; \
             CREATE OR REPLACE TRIGGER trouble BEFORE INSERT ON events EXECUTE FUNCTION trouble()"
        );
        pipeline.execute(&raise).await;
        pipeline.worker.work(vec![held]).await;
    }

    let depth = pipeline.inbound.depth().await.unwrap();
    assert_eq!((depth.ready + depth.scheduled + depth.inflight, depth.dead), (troubles.len() as u64, 0));
    assert_eq!(pipeline.quarantined().await, []);
    pipeline.execute("DROP TRIGGER trouble ON events").await;
    for _ in troubles {
        pipeline.worker.work(vec![pipeline.take().await]).await;
    }
    assert_eq!(pipeline.keys().await.len(), troubles.len());
}

/// Nobody can say that there is no such source while Postgres cannot be asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_raw_event_whose_source_cannot_be_looked_up_waits_and_is_not_quarantined() {
    let pipeline = Pipeline::new().await;
    let held = pipeline.enqueue(a_text("wamid.1", "hello")).await;
    let away = database::Database::new("postgres://nobody@127.0.0.1:1/nothing?connect_timeout=1", 1).unwrap();
    let sources = worker::Sources::new(away, pipeline.master.clone(), &pipeline.redis);
    let blind = worker::Worker::builder(&pipeline.redis, pipeline.database.clone(), sources).build();

    blind.work(vec![held]).await;
    pipeline.worker.work(vec![pipeline.take().await]).await;

    assert_eq!(pipeline.quarantined().await, []);
    assert_eq!(pipeline.keys().await, ["wamid.1"]);
}

/// The news of a source may come after its first raw events; also when another unknown one was looked for just before.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_raw_events_of_two_new_sources_are_recorded() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.0", "hello")).await;
    pipeline.add_source("acme", "new-1").await;
    let first = pipeline.enqueue_from("new-1", a_text("wamid.1", "hello")).await;
    pipeline.worker.work(vec![first]).await;
    pipeline.add_source("acme", "new-2").await;

    let second = pipeline.enqueue_from("new-2", a_text("wamid.2", "hello")).await;
    pipeline.worker.work(vec![second]).await;

    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.2", "wamid.0"]);
}

/// Whoever guesses ids of sources does not hold up those that there are.
#[tokio::test(flavor = "multi_thread")]
async fn many_raw_events_of_unknown_sources_wait_for_one_look_not_for_one_each() {
    let pipeline = Pipeline::new().await;
    let unknown = (0..30).map(|n| Job::of([tests::raw_event(&format!("nobody-{n}"), "{}")]));
    pipeline.inbound.enqueue(&unknown.collect::<Vec<_>>()).await.unwrap();
    let stop = CancellationToken::new();

    let working = tokio::spawn(pipeline.another_worker().run(stop.clone()));

    let all_kept = async {
        while pipeline.quarantined().await.len() < 30 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(15), all_kept).await.expect("half a second each would be too much");
    stop.cancel();
    working.await.unwrap();
}

/// Redis decides nothing: with it gone in the middle, the ledger records once all the same.
#[tokio::test(flavor = "multi_thread")]
async fn with_redis_gone_after_the_fetch_the_event_is_recorded_all_the_same() {
    let mut server = tests::private_redis();
    let pipeline = Pipeline::over(tests::TestRedis { url: server.url(), prefix: "t".into() }).await;
    let held = pipeline.enqueue(a_text("wamid.1", "hello")).await;
    server.kill();

    pipeline.worker.work(vec![held]).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    assert_eq!(pipeline.worker.counters().claims_unanswered.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_none_is_kept_under_each_number_that_it_was_to_carry() {
    let pipeline = Pipeline::new().await;
    let mut held = pipeline.enqueue(a_text("wamid.1", "hello")).await;
    held.payload = bytes::Bytes::from_static(b"\x93\xff not a job");
    let stamp = held.first.clone().unwrap();

    pipeline.worker.work(vec![held]).await;

    assert_eq!(pipeline.quarantined().await, [(-1, "undecodable job".to_owned())]);
    assert_eq!(pipeline.receipt(&stamp).await, Some((1, 0, 1, true)));
}

/// What others put into the queue is kept, whatever it is, and can be replayed and discarded as anything else.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_stamped_has_its_receipt_too() {
    let pipeline = Pipeline::new().await;
    let mut held = pipeline.enqueue(a_text("wamid.1", "hello")).await;
    (held.first, held.count) = (None, 0);
    let stamp = Stamp { incarnation: held.id.as_incarnation(), number: 1 };

    pipeline.worker.work(vec![held]).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    assert_eq!(pipeline.receipt(&stamp).await, Some((1, 1, 0, true)));
}

/// A raw event of a source that is added afterwards: kept, replayed, settled; and no replay adds anything twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_raw_event_is_recorded_by_its_replay_once_and_its_receipt_tells() {
    let pipeline = Pipeline::new().await;
    let two = whatsapp(&[json!({"messages": [text("wamid.1", "one"), text("wamid.2", "two")]})]);
    let held = pipeline.enqueue_from("later", two.clone()).await;
    let stamp = held.first.clone().unwrap();
    pipeline.worker.work(vec![held]).await;
    assert_eq!(pipeline.quarantined().await, [(-1, "unknown source".to_owned())]);
    assert_eq!(pipeline.receipt(&stamp).await, Some((1, 0, 1, true)));
    pipeline.add_source("acme", "later").await;

    for _ in 0..2 {
        let replay = Some(Replay { stamp: stamp.clone(), item: None });
        let entry = JobEntry { raw_event: tests::raw_event("later", two.clone()), replay };
        pipeline.inbound.replay(entry).await.unwrap();
        let held = pipeline.take().await;
        pipeline.another_worker().work(vec![held]).await;
    }

    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.2"]);
    assert_eq!(pipeline.quarantined().await, []);
    assert_eq!(pipeline.receipt(&stamp).await, Some((2, 2, 0, true)));
}

/// Whoever was taken for dead, and is not, may still write what it knew then.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_has_ended_is_final() {
    let pipeline = Pipeline::new().await;
    let stamp = pipeline.receive(a_text("wamid.1", "hello")).await;
    let late = Receipt { stamp: &stamp, source_id: "wa", items: 1, committed: 0, quarantined: 1, ended: true };

    database::receipts::put(&pipeline.database.connection().await.unwrap(), &[late]).await.unwrap();

    assert_eq!(pipeline.receipt(&stamp).await, Some((1, 1, 0, true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_item_that_is_replayed_and_is_still_bad_stays_in_quarantine() {
    let pipeline = Pipeline::new().await;
    let nameless = json!({"from": "15550101234", "type": "text", "text": {"body": "?"}});
    let body = whatsapp(&[json!({"messages": [text("wamid.1", "one"), nameless]})]);
    let stamp = pipeline.receive(body.clone()).await;

    let entry = JobEntry {
        raw_event: tests::raw_event("wa", body),
        replay: Some(Replay { stamp: stamp.clone(), item: Some(1) }),
    };
    pipeline.inbound.replay(entry).await.unwrap();
    let held = pipeline.take().await;
    pipeline.worker.work(vec![held]).await;

    assert_eq!(pipeline.quarantined().await, [(1, "missing id".to_owned())]);
    assert_eq!(pipeline.receipt(&stamp).await, Some((2, 1, 1, true)));
}

/// A job carries several raw events from the first version of its format on; each has its own receipt and outcome.
#[tokio::test(flavor = "multi_thread")]
async fn each_raw_event_of_a_job_has_its_own_receipt() {
    let pipeline = Pipeline::new().await;
    let bodies = [a_text("wamid.1", "one"), "no JSON".to_owned(), a_text("wamid.1", "one")];
    let job = Job::of(bodies.map(|body| tests::raw_event("wa", body)));
    let stamps = pipeline.inbound.enqueue(&[job]).await.unwrap();

    let held = pipeline.take().await;
    pipeline.worker.work(vec![held]).await;

    let mut receipts = Vec::new();
    for stamp in &stamps {
        receipts.push(pipeline.receipt(stamp).await.unwrap());
    }
    assert_eq!(receipts, [(1, 1, 0, true), (1, 0, 1, true), (1, 0, 0, true)]);
}

/// Nothing of a raw event that was taken needs its source's secrets any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_from_a_source_that_does_not_open_is_recorded_all_the_same() {
    let pipeline = Pipeline::new().await;
    pipeline.add_source("acme", "other").await;
    pipeline
        .execute(
            "UPDATE sources SET secrets = ARRAY['damaged'::bytea], revision = nextval('revisions') WHERE id = 'wa'",
        )
        .await;
    let sources = worker::Sources::new(pipeline.database.clone(), pipeline.master.clone(), &pipeline.redis);

    sources.refresh(chrono::Utc::now()).await.unwrap();
    let worker = worker::Worker::builder(&pipeline.redis, pipeline.database.clone(), sources).build();
    worker.work(vec![pipeline.enqueue(a_text("wamid.1", "hello")).await]).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    let read = queue::Snapshots::new(&pipeline.redis).read(&pipeline.master, None).await.unwrap();
    let queue::Read::Newer(snapshot) = read else { panic!("nothing is published: {read:?}") };
    let sealed: Vec<_> = snapshot.sources.iter().map(|source| (source.id.as_str(), source.is_sealed())).collect();
    assert_eq!(sealed.len(), 2);
    assert!(sealed.contains(&("wa", true)) && sealed.contains(&("other", false)), "{sealed:?}");
}
