//! How much is worked on together: what Redis says is done fills no transaction.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use database::due::Leased;
use futures::future::{BoxFuture, ready};
use queue::{ClaimSettings, Claims, Held};
use serde_json::json;
use tests::{Pipeline, a_text, raw_event, text, until, whatsapp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vocabulary::{EndpointId, Job, RawEvent, Stamp};
use worker::{Desk, Settings, Worker};

use crate::duplicates::wanted;

fn small_transactions() -> Settings {
    Settings { group_items: 100, transaction_items: 10, ..Settings::default() }
}

/// A raw event with one message for each of these numbers.
fn texts(numbers: impl Iterator<Item = usize>) -> Vec<RawEvent> {
    numbers.map(|number| raw_event("wa", a_text(&format!("wamid.{number}"), "hello"))).collect()
}

/// Works a job of a message for each of these numbers as one group; and in how many transactions it did.
async fn work(pipeline: &Pipeline, worker: &Worker, numbers: impl Iterator<Item = usize>) -> (Vec<Stamp>, u64) {
    let before = worker.counters().transactions.get();
    let stamps = pipeline.inbound.enqueue(&[Job::of(texts(numbers))]).await.unwrap();
    worker.work(vec![pipeline.take().await]).await;
    (stamps, worker.counters().transactions.get() - before)
}

/// During a storm of redeliveries a transaction would be a few new events, and cost as much as a full one.
#[tokio::test(flavor = "multi_thread")]
async fn duplicates_go_into_the_transaction_of_what_is_new_and_do_not_fill_it() {
    const FIRST: RangeInclusive<usize> = 1..=10;
    const NEXT: RangeInclusive<usize> = 11..=20;
    let pipeline = Pipeline::new().await;
    let worker = pipeline.another_worker_with(small_transactions());
    work(&pipeline, &worker, FIRST).await;

    let (stamps, transactions) = work(&pipeline, &worker, FIRST.chain(FIRST).chain(FIRST).chain(NEXT)).await;

    assert_eq!(transactions, 1);
    assert_eq!(pipeline.keys().await.len(), 20);
    for (place, stamp) in stamps.iter().enumerate() {
        let is_new = i32::from(place >= 30);
        assert_eq!(pipeline.receipt(stamp).await, Some((1, is_new, 0, true)), "raw event {place}");
    }
}

/// What an earlier transaction of a group has settled is known to have a receipt, and nothing else is: or each later one would be
/// written as if somebody had had its raw events before, at twice the price; or be refused, and made again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_for_one_transaction_is_several_and_none_of_them_is_made_again() {
    let pipeline = Pipeline::new().await;
    note_receipts(&pipeline).await;
    let worker = pipeline.another_worker_with(small_transactions());
    let messages: Vec<_> = (1..=5).map(|number| text(&format!("wamid.many.{number}"), "hello")).collect();
    let many = raw_event("wa", whatsapp(&[json!({ "messages": messages })]));
    // The first transaction ends within it.
    let raw_events = [texts(1..=7), vec![many], texts(8..=20), texts(1..=7)].concat();
    let stamps = pipeline.inbound.enqueue(&[Job::of(raw_events)]).await.unwrap();

    worker.work(vec![pipeline.take().await]).await;

    let counters = worker.counters();
    assert_eq!((counters.transactions.get(), counters.transactions_again.get()), (3, 0));
    assert_eq!(written_as_first_and_otherwise(&pipeline).await, (3, 1), "the one that is in two of them");
    assert_eq!(pipeline.keys().await.len(), 25);
    for (place, stamp) in stamps.iter().enumerate() {
        let expected = match place {
            7 => (5, 5, 0, true),
            21.. => (1, 0, 0, true),
            _ => (1, 1, 0, true),
        };
        assert_eq!(pipeline.receipt(stamp).await, Some(expected), "raw event {place}");
    }
}

/// Keeps the text of each statement that writes receipts.
async fn note_receipts(pipeline: &Pipeline) {
    pipeline
        .execute(
            "CREATE TABLE written (statement text); \
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN INSERT INTO written VALUES (current_query()); RETURN NULL; END'; \
             CREATE TRIGGER noted AFTER INSERT ON receipts FOR EACH STATEMENT EXECUTE FUNCTION note()",
        )
        .await;
}

async fn written_as_first_and_otherwise(pipeline: &Pipeline) -> (i64, i64) {
    let of = async |kind: &str| {
        pipeline.number(&format!("SELECT count(*) FROM written WHERE statement {kind} '%ON CONFLICT%'")).await
    };
    (of("NOT LIKE").await, of("LIKE").await)
}

/// Redis has come back from an earlier state, and gives out as new what was settled long ago: each of a group's transactions finds
/// that out for itself, once, and adds nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_several_transactions_that_was_worked_before_adds_nothing() {
    let pipeline = Pipeline::new().await;
    let worker = pipeline.another_worker_with(small_transactions());
    work(&pipeline, &worker, 1..=30).await;
    let stamps = pipeline.inbound.enqueue(&[Job::of(texts(1..=30))]).await.unwrap();
    let duplicates = pipeline.take().await;
    worker.work(vec![duplicates.clone()]).await;
    pipeline.forget_claims().await;
    let before = worker.counters().transactions.get();

    worker.work(vec![duplicates]).await;

    let counters = worker.counters();
    assert_eq!((counters.transactions.get() - before, counters.transactions_again.get()), (3, 3));
    assert_eq!((pipeline.keys().await.len(), pipeline.quarantined().await), (30, vec![]));
    for stamp in &stamps {
        assert_eq!(pipeline.receipt(stamp).await, Some((1, 0, 0, true)), "{stamp}");
    }
}

/// The transaction was only to look whether what another worker holds has come by now; it is refused for that, and goes on without.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_and_has_its_receipt_already_does_not_stop_the_rest() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.1", "hello")).await;
    let settled = pipeline.enqueue(a_text("wamid.1", "hello")).await;
    pipeline.worker.work(vec![settled.clone()]).await;
    pipeline.forget_claims().await;
    Claims::new(&pipeline.redis, ClaimSettings::default()).take(&[wanted("of another worker")]).await;
    let mate = pipeline.enqueue(a_text("wamid.2", "hello")).await;
    let mate = Held { deferred_for: Some(Duration::ZERO), ..mate };
    let worker = pipeline.another_worker();

    worker.work(vec![mate, settled]).await;

    let counters = worker.counters();
    assert_eq!((counters.transactions.get(), counters.transactions_again.get()), (1, 1));
    assert_eq!((pipeline.keys().await.len(), pipeline.quarantined().await), (2, vec![]));
}

/// What a worker finds in the queue during a storm of redeliveries. The first group holds up the others until all of it is there.
#[tokio::test(flavor = "multi_thread")]
async fn groups_grow_while_most_of_what_they_hold_are_duplicates() {
    const DUPLICATES: u64 = 300;
    let pipeline = Pipeline::new().await;
    let worker = pipeline.another_worker_with(Settings { lanes: 1, ..small_transactions() });
    let (counters, stop) = (worker.counters(), CancellationToken::new());
    let running = tokio::spawn(worker.run(stop.clone()));
    let job = |wamid: &str| Job::of([raw_event("wa", a_text(wamid, "hello"))]);
    let all_is_settled = async || pipeline.inbound.depth().await.unwrap().all() == 0;
    pipeline.inbound.enqueue(&[job("wamid.1")]).await.unwrap();
    until("the first is settled", all_is_settled).await;
    pipeline.execute("BEGIN; SELECT last FROM source_sequences FOR UPDATE").await;
    pipeline.inbound.enqueue(&[job("wamid.2")]).await.unwrap();
    pipeline.somebody_waits_for_us().await;

    let storm: Vec<_> = (0..DUPLICATES).map(|_| job("wamid.1")).collect();
    pipeline.inbound.enqueue(&storm).await.unwrap();
    until("all of it is there", async || counters.jobs.get() > DUPLICATES).await;
    pipeline.execute("COMMIT").await;
    until("all of it is settled", all_is_settled).await;

    stop.cancel();
    running.await.unwrap();
    let groups = counters.groups.get();
    assert!(groups < 10, "{groups} groups: 30 would be of 10 each");
}

/// Has no places, and says how often it was asked for some.
#[derive(Default)]
struct Asked(AtomicUsize);

impl Desk for Asked {
    fn lease(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn has_places(&self) -> BoxFuture<'_, ()> {
        self.0.fetch_add(1, Relaxed);
        Box::pin(ready(()))
    }

    fn set_aside(&self, _: &str, _: &EndpointId, _: usize) -> bool {
        false
    }

    fn give_back(&self, _: &str, _: &EndpointId, _: usize) {}

    fn take(&self, _: Vec<Leased>, _: Instant) {}
}

/// The first is waited for before a group is made: what comes meanwhile comes along.
#[tokio::test(flavor = "multi_thread")]
async fn each_further_transaction_of_a_group_waits_for_places_at_the_desk() {
    let pipeline = Pipeline::new().await;
    let desk = Arc::new(Asked::default());
    let worker = pipeline.another_worker_with(Settings { desk: Some(desk.clone()), ..small_transactions() });

    let (_, transactions) = work(&pipeline, &worker, 1..=30).await;

    assert_eq!((transactions, desk.0.load(Relaxed)), (3, 2));
}
