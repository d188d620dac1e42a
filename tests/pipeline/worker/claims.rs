//! Claims are an economy: they keep workers apart, and never keep an event from being recorded.

use std::time::{Duration, Instant};

use queue::{Claim, ClaimSettings, Claims};
use serde_json::json;
use tests::{Pipeline, a_text, raw_event, text, whatsapp};
use vocabulary::{Job, Stamp};
use worker::{Settings, Sources, Worker};

use super::duplicates::{wanted, wanted_key};

/// No promise covers a raw event as a whole: what can be recorded is, and the job stays for the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_acknowledged_only_when_all_of_its_items_are_settled() {
    let pipeline = Pipeline::new().await;
    let claims = Claims::new(&pipeline.redis, ClaimSettings::default());
    let theirs = wanted("another raw event");
    claims.take(std::slice::from_ref(&theirs)).await;
    let messages = json!([text("wamid.1", "theirs"), text("wamid.2", "ours")]);

    let stamp = pipeline.receive(whatsapp(&[json!({"messages": messages})])).await;

    assert_eq!(pipeline.keys().await, ["wamid.2"]);
    assert_eq!(pipeline.receipt(&stamp).await, Some((2, 1, 0, false)));
    assert_eq!(pipeline.inbound.depth().await.unwrap().scheduled, 1);
    claims.release(&[theirs]).await;
    pipeline.worker.work(vec![pipeline.take().await]).await;
    assert_eq!(pipeline.keys().await, ["wamid.2", "wamid.1"]);
    assert_eq!(pipeline.receipt(&stamp).await, Some((2, 2, 0, true)));
}

/// Most that is held is held by another group of the same worker, and done with in a moment.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_held_is_asked_for_again_when_the_rest_is_committed() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.0", "its source has a counter now")).await;
    let claims = Claims::new(&pipeline.redis, ClaimSettings::default());
    let theirs = wanted("another raw event");
    claims.take(std::slice::from_ref(&theirs)).await;
    let messages = json!([text("wamid.1", "theirs"), text("wamid.2", "ours")]);
    let held = pipeline.enqueue(whatsapp(&[json!({"messages": messages})])).await;
    pipeline.execute("BEGIN; SELECT * FROM source_sequences FOR UPDATE").await;

    let they_let_go = async {
        pipeline.somebody_waits_for_us().await;
        claims.release(&[theirs]).await;
        pipeline.execute("COMMIT").await;
    };
    tokio::join!(they_let_go, pipeline.worker.work(vec![held]));

    assert_eq!(pipeline.keys().await, ["wamid.0", "wamid.2", "wamid.1"]);
    assert_eq!(pipeline.inbound.depth().await.unwrap().scheduled, 0);
}

/// Another has committed `wamid.1`, and holds its claim still. A job of these keys is enqueued.
async fn beside_who_has_committed(keys: &[&str]) -> (Pipeline, Vec<Stamp>) {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.1", "theirs")).await;
    pipeline.forget_claims().await;
    let claims = Claims::new(&pipeline.redis, ClaimSettings::default());
    claims.take(&[wanted("another raw event")]).await;
    let job = Job::of(keys.iter().map(|key| raw_event("wa", a_text(key, "ours"))));
    let stamps = pipeline.inbound.enqueue(&[job]).await.unwrap();
    (pipeline, stamps)
}

/// It has it by now, mostly: whoever holds a claim holds the counter of its source as well, and ours comes after. Then nothing
/// has to be asked again, and no transaction is made for it alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_held_and_has_committed_by_then_is_settled_with_the_rest() {
    let (pipeline, stamps) = beside_who_has_committed(&["wamid.0", "wamid.1", "wamid.2"]).await;

    pipeline.worker.work(vec![pipeline.take().await]).await;

    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.0", "wamid.2"]);
    assert_eq!(pipeline.receipt(&stamps[1]).await, Some((1, 0, 0, true)));
    assert_eq!(pipeline.inbound.depth().await.unwrap().all(), 0, "their claim is still held");
    assert_eq!(pipeline.worker.counters().duplicates_by_ledger.get(), 1);
}

/// What fails is split until one piece is left, and that is refused. It must not be refused for what somebody else works on.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_holds_takes_nothing_along_that_could_be_committed_without_it() {
    let (pipeline, stamps) = beside_who_has_committed(&["wamid.0", "wamid.1"]).await;
    let check = format!("ALTER TABLE receipts ADD CHECK (number <> {})", stamps[1].number);
    pipeline.execute(&check).await;

    pipeline.worker.work(vec![pipeline.take().await]).await;

    assert_eq!((pipeline.receipt(&stamps[0]).await, pipeline.quarantined().await), (Some((1, 1, 0, true)), vec![]));
    assert_eq!(pipeline.inbound.depth().await.unwrap().scheduled, 1);
}

/// The two share a run, and one word of a run is for all that it still holds.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_group_what_is_committed_is_done_for_others_and_what_was_refused_is_theirs_to_work_on() {
    let pipeline = Pipeline::new().await;
    pipeline.execute("ALTER TABLE messages ADD CHECK (external_id <> 'wamid.poison')").await;
    let group =
        [pipeline.enqueue(a_text("wamid.1", "hello")).await, pipeline.enqueue(a_text("wamid.poison", "-")).await];

    pipeline.worker.work(group.into()).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    let claims = Claims::new(&pipeline.redis, ClaimSettings::default());
    let theirs = ["wamid.1", "wamid.poison"].map(|key| wanted_key(key, "another raw event"));
    assert_eq!(claims.take(&theirs).await, [Claim::Done, Claim::Won]);
}

/// Redis refuses the release, here because no claim is where one was. Then nothing says that all of the run is done, which
/// would be a lie about what was refused; the lease ends that.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_let_go_is_not_called_done_with_the_rest_of_its_group() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.0", "its source has a counter now")).await;
    pipeline.execute("ALTER TABLE messages ADD CHECK (external_id <> 'wamid.poison')").await;
    let group =
        [pipeline.enqueue(a_text("wamid.1", "hello")).await, pipeline.enqueue(a_text("wamid.poison", "-")).await];
    pipeline.execute("BEGIN; SELECT * FROM source_sequences FOR UPDATE").await;

    let break_a_claim = async {
        pipeline.somebody_waits_for_us().await;
        pipeline.break_claim("wa", "wamid.poison").await;
        pipeline.execute("COMMIT").await;
    };
    tokio::join!(break_a_claim, pipeline.worker.work(group.into()));

    assert_eq!(pipeline.keys().await, ["wamid.0", "wamid.1"]);
    let claims = Claims::new(&pipeline.redis, ClaimSettings::default());
    assert_eq!(claims.take(&[wanted_key("wamid.1", "another raw event")]).await, [Claim::Held]);
}

/// Whoever renews a claim for ever must not keep others from recording: the ledger decides.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_put_off_for_longer_than_two_leases_goes_on_without_the_claim() {
    let pipeline = Pipeline::new().await;
    let claims = Claims::new(&pipeline.redis, ClaimSettings::default());
    claims.take(&[wanted("another raw event")]).await;
    let mut held = pipeline.enqueue(a_text("wamid.1", "hello")).await;
    held.deferred_for = Some(3 * ClaimSettings::default().lease);

    pipeline.worker.work(vec![held]).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    let depth = pipeline.inbound.depth().await.unwrap();
    assert_eq!((depth.scheduled, depth.inflight), (0, 0));
}

/// A claim does not run out under its holder, however long its transaction waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_renewed_while_its_work_goes_on() {
    let pipeline = Pipeline::new().await;
    let claims = ClaimSettings { lease: Duration::from_millis(1500), ..ClaimSettings::default() };
    let sources = Sources::new(pipeline.database.clone(), pipeline.master.clone(), &pipeline.redis);
    let settings = Settings { claims, ..Default::default() };
    let worker = Worker::builder(&pipeline.redis, pipeline.database.clone(), sources).settings(settings).build();
    let held = pipeline.enqueue(a_text("wamid.1", "hello")).await;
    pipeline.execute("BEGIN; LOCK TABLE events").await;

    let working = tokio::spawn(async move { worker.work(vec![held]).await });

    let (watching, claims) = (Instant::now(), Claims::new(&pipeline.redis, ClaimSettings::default()));
    let mut left_before = Duration::MAX;
    while let left = claim_ends_in(&claims).await
        && left.is_none_or(|left| left <= left_before)
    {
        left_before = left.unwrap_or(left_before);
        assert!(watching.elapsed() < Duration::from_secs(10), "nobody has renewed it");
    }
    pipeline.execute("ROLLBACK").await;
    working.await.unwrap();
}

/// Of the only claim there is.
async fn claim_ends_in(claims: &Claims) -> Option<Duration> {
    claims.held(Duration::ZERO).await.unwrap().pop()?.left
}
