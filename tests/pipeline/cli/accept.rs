//! A loss that a person has accepted is no breach any more; any other still is.

use serde_json::{Value, json};
use tests::Pipeline;

use super::{
    CommandLine,
    audit::{a_store_that_is_right, audit, broken, redis_does},
};

const NUMBERS: &str = "every number that the queue gave is settled or pending";
const END: &str = "the queue remembers every number that it gave";

/// The incarnation of a store that has receipts up to 6, and 7 in the queue.
async fn incarnation(pipeline: &Pipeline) -> String {
    pipeline.rows("SELECT incarnation FROM receipts LIMIT 1", &[]).await[0].get(0)
}

/// The queue gives so many numbers whose raw events it then forgets.
async fn loses_up_to(pipeline: &Pipeline, number: u64) {
    redis_does(pipeline, &format!("HSET @:inbound:incarnation last {number}")).await;
}

async fn accept(pipeline: &Pipeline, options: &str) -> Value {
    CommandLine::of(pipeline).json(&format!("audit accept --reason 'power was lost' {options}")).await
}

async fn is_broken(pipeline: &Pipeline) -> (Vec<String>, bool) {
    let (report, failure) = audit(pipeline).await;
    (broken(&report).into_iter().map(str::to_owned).collect(), failure.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_as_lost_is_counted_and_no_breach_and_what_is_lost_later_is_one() {
    let pipeline = a_store_that_is_right().await;
    let incarnation = incarnation(&pipeline).await;
    loses_up_to(&pipeline, 9).await;
    assert_eq!(is_broken(&pipeline).await, (vec![NUMBERS.to_owned()], true));

    let accepted = accept(&pipeline, "").await;

    assert_eq!(accepted, json!([{"incarnation": incarnation, "first": 8, "last": 9}]));
    assert_eq!(is_broken(&pipeline).await, (vec![], false));
    let said = CommandLine::of(&pipeline).run("audit").await;
    assert!(said.out.contains("\naccepted: 2 raw events in 1 range\n"), "{}", said.out);

    loses_up_to(&pipeline, 10).await;
    let (report, failure) = audit(&pipeline).await;
    assert_eq!((broken(&report), failure.is_some()), (vec![NUMBERS], true));
    assert!(report["checks"].to_string().contains(&format!("[\"{incarnation}-10\"]")), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_and_by_whom_a_loss_was_accepted_is_kept() {
    let pipeline = a_store_that_is_right().await;
    loses_up_to(&pipeline, 9).await;

    accept(&pipeline, "").await;

    let kept = "SELECT l.reason, l.actor = a.actor, a.action, a.detail, a.target FROM losses l, audit_log a";
    let row = pipeline.rows(kept, &[]).await.pop().unwrap();
    let texts = [0, 2, 3].map(|column| row.get::<_, String>(column));
    assert_eq!((texts, row.get(1)), (["power was lost", "audit accept", "power was lost"].map(str::to_owned), true));
    assert_eq!(row.get::<_, String>(4), format!("{}-8..9", incarnation(&pipeline).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_turns_up_is_not_counted_as_lost() {
    let pipeline = a_store_that_is_right().await;
    let incarnation = incarnation(&pipeline).await;
    loses_up_to(&pipeline, 10).await;
    accept(&pipeline, "").await;

    let receipt = format!("INSERT INTO receipts VALUES ('{incarnation}', 9, 'wa', 0, 0, 0, now())");
    pipeline.execute(&receipt).await;

    let (report, failure) = audit(&pipeline).await;
    assert_eq!((broken(&report), failure), (vec![], None));
    assert_eq!((&report["accepted"]["raw_events"], &report["accepted"]["ranges"]), (&json!(2), &json!(2)));
    assert_eq!(report["sums"]["raw_events"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_queue_that_lost_its_memory_is_accepted_however_far_it_turns_out_to_have_gone() {
    let pipeline = a_store_that_is_right().await;
    let incarnation = incarnation(&pipeline).await;
    redis_does(&pipeline, "DEL @:inbound:incarnation @:inbound:data").await;
    assert_eq!(is_broken(&pipeline).await, (vec![END.to_owned()], true));

    let accepted = accept(&pipeline, "").await;

    assert_eq!(accepted, json!([{"incarnation": incarnation, "first": 7, "last": null}]));
    assert_eq!(is_broken(&pipeline).await, (vec![], false));
    redis_does(&pipeline, &format!("HSET @:inbound:incarnations {incarnation} 8")).await;
    let (report, failure) = audit(&pipeline).await;
    assert_eq!((broken(&report), failure), (vec![], None));
    assert_eq!(report["accepted"], json!({"raw_events": 2, "ranges": 1, "incarnations_without_end": 0}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_accepts_nothing_and_where_nothing_is_missing_there_is_nothing_to_accept() {
    let pipeline = a_store_that_is_right().await;
    let latchhook = CommandLine::of(&pipeline);
    let nothing = latchhook.fails("audit accept --reason x").await;
    assert_eq!(nothing, "latchhook: nothing is missing, so there is no loss to accept");
    loses_up_to(&pipeline, 9).await;

    let shown = accept(&pipeline, "--dry-run").await;

    assert_eq!(shown[0]["last"], 9);
    assert_eq!(is_broken(&pipeline).await, (vec![NUMBERS.to_owned()], true));
    let of_another = latchhook.fails("audit accept --reason x --incarnation other").await;
    assert!(of_another.contains("nothing of incarnation other is missing"), "{of_another}");
    assert_eq!(pipeline.number("SELECT count(*) FROM losses").await, 0);
}
