//! Promise 1: recorded once.

use std::sync::Arc;

use futures::future::join_all;
use queue::{ClaimSettings, Claims, Owner, Run, Wanted};
use serde_json::json;
use tests::{Pipeline, a_text, raw_event, text, whatsapp};
use tokio::sync::Barrier;
use vocabulary::{Job, Key, KeyHash};

/// 6, 8: also with nothing left in Redis but the queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_comes_again_adds_nothing_and_owes_nothing() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.1", "hello")).await;

    let again = pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline.forget_claims().await;
    let once_more = pipeline.receive(a_text("wamid.1", "hello")).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    assert_eq!(pipeline.told_types().await, ["message_created"]);
    assert_eq!(pipeline.receipt(&again).await, Some((1, 0, 0, true)));
    assert_eq!(pipeline.receipt(&once_more).await, Some((1, 0, 0, true)));
    let counters = pipeline.worker.counters();
    assert_eq!((counters.duplicates_by_claim.get(), counters.duplicates_by_ledger.get()), (1, 1));
}

/// 57: N duplicates on N workers at the same instant.
#[tokio::test(flavor = "multi_thread")]
async fn sixteen_workers_that_hold_the_same_webhook_at_the_same_instant_record_it_once() {
    let pipeline = Pipeline::new().await;
    let barrier = Arc::new(Barrier::new(16));
    let mut racing = Vec::new();
    for _ in 0..16 {
        let (worker, held) = (pipeline.another_worker(), pipeline.enqueue(a_text("wamid.1", "hello")).await);
        let barrier = barrier.clone();
        racing.push(tokio::spawn(async move {
            barrier.wait().await;
            worker.work(vec![held]).await;
        }));
    }

    join_all(racing).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    assert_eq!(pipeline.number("SELECT count(*) FROM deliveries").await, 1);
}

/// 58: the ledger decides alone. Without claims at all, every worker reaches it.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_claims_flushed_under_them_workers_still_record_once() {
    let pipeline = Pipeline::new().await;
    let barrier = Arc::new(Barrier::new(8));
    let mut racing = Vec::new();
    for _ in 0..8 {
        let (worker, held) = (pipeline.another_worker(), pipeline.enqueue(a_text("wamid.1", "hello")).await);
        let barrier = barrier.clone();
        racing.push(tokio::spawn(async move {
            barrier.wait().await;
            worker.work(vec![held]).await;
        }));
    }
    let racing = join_all(racing);
    tokio::pin!(racing);

    while futures::poll!(&mut racing).is_pending() {
        pipeline.forget_claims().await;
    }

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    assert_eq!(pipeline.number("SELECT count(*) FROM deliveries").await, 1);
}

/// Meta sends for up to seven days, and claims are kept for ten minutes. Each would have its transaction made twice.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_redis_has_forgotten_are_found_by_the_ledger_and_the_next_are_looked_up_before() {
    let pipeline = Pipeline::new().await;
    for wamid in ["wamid.1", "wamid.2", "wamid.3"] {
        pipeline.receive(a_text(wamid, "hello")).await;
    }
    pipeline.forget_claims().await;

    for wamid in ["wamid.1", "wamid.2", "wamid.3"] {
        let stamp = pipeline.receive(a_text(wamid, "hello")).await;
        assert_eq!(pipeline.receipt(&stamp).await, Some((1, 0, 0, true)), "{wamid}");
    }

    let counters = pipeline.worker.counters();
    assert_eq!((counters.transactions_again.get(), counters.duplicates_by_ledger.get()), (1, 3));
    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.2", "wamid.3"]);
}

/// A worker looks keys up under the counter of their source. What comes into the ledger past that counter (by an earlier
/// version of latchhook, or by hand) it cannot have seen: there the constraint decides, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_into_the_ledger_past_every_look_up_is_stopped_by_its_constraint() {
    let pipeline = Pipeline::new().await;
    let held = pipeline.enqueue(a_text("wamid.1", "hello")).await;
    let stamp = held.first.clone().unwrap();
    let hash = KeyHash::of(&"wa".parse().unwrap(), &Key::new("wamid.1").unwrap());
    let insert = "INSERT INTO events (id, key_hash, source_id, key, kind, sequence, incarnation, number, received_at) \
                  VALUES (gen_random_uuid(), $1, 'wa', 'wamid.1', 'text', 1, 'earlier', 1, now())";
    pipeline.execute("BEGIN").await;
    pipeline.rows(insert, &[&hash.as_slice()]).await;

    let commit_in_between = async {
        pipeline.somebody_waits_for_us().await;
        pipeline.execute("COMMIT").await;
    };
    tokio::join!(pipeline.worker.work(vec![held]), commit_in_between);

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    assert_eq!(pipeline.number("SELECT count(*) FROM deliveries").await, 0, "told by whoever recorded it");
    assert_eq!(pipeline.receipt(&stamp).await, Some((1, 0, 0, true)));
    assert_eq!(pipeline.quarantined().await, []);
}

/// The messages of a source are written under its counter likewise. What is there all the same is joined, not refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_past_every_look_up_is_stopped_by_its_constraint_and_joined() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.0", "hello")).await;
    let held = pipeline.enqueue(a_text("wamid.1", "hello")).await;
    let stamp = held.first.clone().unwrap();
    let insert = "INSERT INTO messages (id, source_id, external_id, direction, kind, content, state) \
                  SELECT gen_random_uuid(), source_id, 'wamid.1', direction, kind, content, \
                      replace(encode(state, 'escape'), 'wamid.0', 'wamid.1')::bytea FROM messages";
    pipeline.execute(&format!("BEGIN; {insert}")).await;

    let commit_in_between = async {
        pipeline.somebody_waits_for_us().await;
        pipeline.execute("COMMIT").await;
    };
    tokio::join!(pipeline.worker.work(vec![held]), commit_in_between);

    assert_eq!(pipeline.keys().await, ["wamid.0", "wamid.1"]);
    assert_eq!(pipeline.number("SELECT count(*) FROM messages").await, 2);
    assert_eq!((pipeline.receipt(&stamp).await, pipeline.quarantined().await), (Some((1, 1, 0, true)), vec![]));
}

/// 57, inside one process: equal keys of a group are folded, and the followers take the leader's outcome.
#[tokio::test(flavor = "multi_thread")]
async fn duplicates_in_one_group_are_worked_once_and_each_gets_its_receipt() {
    let pipeline = Pipeline::new().await;
    let twins =
        [pipeline.enqueue(a_text("wamid.1", "hello")).await, pipeline.enqueue(a_text("wamid.1", "hello")).await];
    let stamps = twins.each_ref().map(|held| held.first.clone().unwrap());

    pipeline.worker.work(twins.into()).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    assert_eq!(pipeline.receipt(&stamps[0]).await, Some((1, 1, 0, true)));
    assert_eq!(pipeline.receipt(&stamps[1]).await, Some((1, 0, 0, true)));
    assert_eq!(pipeline.inbound.depth().await.unwrap().inflight, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_twice_in_one_request_is_one_event_and_one_duplicate() {
    let pipeline = Pipeline::new().await;

    let twice = json!({"messages": [text("wamid.1", "hello"), text("wamid.1", "hello")]});
    let stamp = pipeline.receive(whatsapp(&[twice])).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    assert_eq!(pipeline.receipt(&stamp).await, Some((2, 1, 0, true)));
}

/// 7, 59 (C9): the seed answers "done" to whoever loses; here the loser waits until a row exists.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_another_worker_holds_is_neither_worked_nor_acknowledged() {
    let pipeline = Pipeline::new().await;
    let claims = Claims::new(&pipeline.redis, ClaimSettings::default());
    let theirs = wanted("another raw event");
    claims.take(std::slice::from_ref(&theirs)).await;

    let stamp = pipeline.receive(a_text("wamid.1", "hello")).await;

    assert!(pipeline.keys().await.is_empty());
    assert_eq!(pipeline.receipt(&stamp).await, None);
    let depth = pipeline.inbound.depth().await.unwrap();
    assert_eq!((depth.scheduled, depth.inflight, depth.dead), (1, 0, 0));
}

/// The raw events of a job know nothing of each other: who waits holds nobody up, and is not worked again for others.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_job_of_several_raw_events_only_what_waits_for_a_claim_comes_again() {
    let pipeline = Pipeline::new().await;
    let theirs = wanted("another raw event");
    let claims = Claims::new(&pipeline.redis, ClaimSettings::default());
    claims.take(std::slice::from_ref(&theirs)).await;
    let keys = ["wamid.0", "wamid.1", "wamid.2"];
    let job = Job::of(keys.map(|key| raw_event("wa", a_text(key, "hello"))));
    let stamps = pipeline.inbound.enqueue(&[job]).await.unwrap();

    pipeline.worker.work(vec![pipeline.take().await]).await;

    assert_eq!(pipeline.keys().await, ["wamid.0", "wamid.2"]);
    assert_eq!(pipeline.receipt(&stamps[1]).await, None);
    let pending: Vec<_> = pipeline.inbound.pending().await.unwrap();
    assert_eq!(pending.iter().map(|job| (job.first, job.count)).collect::<Vec<_>>(), [(stamps[1].number, 1)]);

    claims.release(&[theirs]).await;
    let rest = pipeline.take().await;
    assert_eq!((rest.first.as_ref(), rest.count, rest.deferred_for.is_some()), (Some(&stamps[1]), 1, true));
    pipeline.worker.work(vec![rest]).await;

    assert_eq!(pipeline.keys().await, ["wamid.0", "wamid.2", "wamid.1"]);
    for stamp in &stamps {
        assert_eq!(pipeline.receipt(stamp).await, Some((1, 1, 0, true)));
    }
    assert_eq!(pipeline.inbound.depth().await.unwrap().all(), 0);
}

/// 54 (C1): the holder died. Its claim ends, and the deferred job records what it would have lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_outlives_the_worker_that_claimed_it() {
    let pipeline = Pipeline::new().await;
    let claims = Claims::new(&pipeline.redis, ClaimSettings::default());
    let theirs = wanted("another raw event");
    claims.take(std::slice::from_ref(&theirs)).await;
    pipeline.receive(a_text("wamid.1", "hello")).await;

    claims.release(std::slice::from_ref(&theirs)).await;
    let again = pipeline.take().await;
    assert!(again.deferred_for.is_some());
    pipeline.worker.work(vec![again]).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    assert_eq!(pipeline.told_types().await, ["message_created"]);
}

/// 53, 54: an earlier run of this very job died with the claim: the next run takes it over at once.
#[tokio::test(flavor = "multi_thread")]
async fn the_claim_of_an_earlier_run_of_the_same_raw_event_does_not_stop_the_next_run() {
    let pipeline = Pipeline::new().await;
    let held = pipeline.enqueue(a_text("wamid.1", "hello")).await;
    let claims = Claims::new(&pipeline.redis, ClaimSettings::default());
    claims.take(&[wanted(&held.first.clone().unwrap().to_string())]).await;

    pipeline.worker.work(vec![held]).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
}

/// Row 5 of the fault matrix: killed after COMMIT, before `done` and acknowledgement.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_runs_again_after_its_commit_adds_nothing_twice() {
    let pipeline = Pipeline::new().await;
    let held = pipeline.enqueue(a_text("wamid.1", "hello")).await;
    let stamp = held.first.clone().unwrap();
    pipeline.worker.work(vec![held.clone()]).await;
    pipeline.forget_claims().await;

    pipeline.worker.work(vec![held]).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    assert_eq!(pipeline.receipt(&stamp).await, Some((1, 1, 0, true)));
    assert_eq!(pipeline.number("SELECT last FROM source_sequences").await, 1);
}

/// Redis has come back from an earlier state, and gives out as new what was settled long ago. Nothing in the ledger tells:
/// the key is another raw event's.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_that_has_its_receipt_already_is_found_out_and_its_receipt_stays_as_it_is() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.1", "hello")).await;
    let held = pipeline.enqueue(a_text("wamid.1", "hello")).await;
    let stamp = held.first.clone().unwrap();
    pipeline.worker.work(vec![held.clone()]).await;
    let mate = pipeline.enqueue(a_text("wamid.2", "hello")).await;

    pipeline.worker.work(vec![held, mate]).await;

    assert_eq!(pipeline.worker.counters().transactions_again.get(), 1, "and its mate need not come again");
    assert_eq!((pipeline.receipt(&stamp).await, pipeline.quarantined().await), (Some((1, 0, 0, true)), vec![]));
    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.2"]);
}

/// Redis says done, and Postgres has lost the commit: the ledger is believed.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_done_is_not_believed_when_the_ledger_does_not_know_the_key() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline.execute("TRUNCATE events, bodies, deliveries, due, messages, receipts, source_sequences").await;

    pipeline.receive(a_text("wamid.1", "hello")).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    assert_eq!(pipeline.worker.counters().claims_false_done.get(), 1);
}

/// 65 (C8): the seed's key is global; ours is unique within its source.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_from_two_sources_is_two_events() {
    let pipeline = Pipeline::new().await;
    pipeline.add_source("acme", "wa-2").await;

    pipeline.receive(a_text("wamid.1", "hello")).await;
    let held = pipeline.enqueue_from("wa-2", a_text("wamid.1", "hello")).await;
    pipeline.worker.work(vec![held]).await;

    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.1"]);
    assert_eq!(pipeline.told_types().await, ["message_created", "message_created"]);
}

/// A claim of `wamid.1`, wanted for a raw event.
pub(super) fn wanted(stamp: &str) -> Wanted {
    wanted_key("wamid.1", stamp)
}

/// A claim of a key, wanted for a raw event.
pub(super) fn wanted_key(key: &str, stamp: &str) -> Wanted {
    let owner = Owner::of(stamp, Run::random());
    Wanted { source: "wa".parse().unwrap(), key: Key::new(key).unwrap(), owner }
}
