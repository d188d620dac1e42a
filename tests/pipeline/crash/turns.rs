//! Who is worked beside whom: a job whose workers died, and everything else, one after the other.

use tests::{Pipeline, a_text, raw_event, until};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use vocabulary::{Job, Stamp};

use super::scene::WAITING;

/// A worker that runs, over sources `wa` and `slow`, until it is stopped. Transactions of `slow` wait for its counter.
async fn a_worker_with_a_slow_source() -> (Pipeline, CancellationToken, AbortOnDropHandle<()>) {
    let (pipeline, stop) = (Pipeline::new().await, CancellationToken::new());
    pipeline.add_source("acme", "slow").await;
    let working = AbortOnDropHandle::new(tokio::spawn(pipeline.another_worker().run(stop.clone())));
    for source in ["wa", "slow"] {
        receive(&pipeline, source, "first").await;
        until("it is recorded", async || is_recorded(&pipeline, source, "first").await).await;
    }
    pipeline.execute("BEGIN; SELECT * FROM source_sequences WHERE source_id = 'slow' FOR UPDATE").await;
    (pipeline, stop, working)
}

async fn receive(pipeline: &Pipeline, source: &str, key: &str) -> Stamp {
    let job = Job::of([raw_event(source, a_text(key, "hello"))]);
    pipeline.inbound.enqueue(&[job]).await.unwrap().remove(0)
}

/// Receives a job over which two workers have died: so it says in Redis, under the name that it will have.
async fn receive_suspect(pipeline: &Pipeline, source: &str, key: &str, last: &Stamp) {
    let (prefix, number) = (&pipeline.test_redis.prefix, last.number + 1);
    let meta = format!("{prefix}:inbound:meta:{}-{number}-1", last.incarnation.as_str());
    let client = redis::Client::open(pipeline.test_redis.url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("HSET").arg(meta).arg("unclean").arg(2).exec_async(&mut connection).await.unwrap();
    assert_eq!(receive(pipeline, source, key).await.number, number);
}

async fn is_recorded(pipeline: &Pipeline, source: &str, key: &str) -> bool {
    let query = "SELECT FROM events WHERE source_id = $1 AND key = $2";
    !pipeline.rows(query, &[&source, &key]).await.is_empty()
}

async fn all_are_recorded_in_the_end(
    events: i64,
    pipeline: Pipeline,
    stop: CancellationToken,
    working: AbortOnDropHandle<()>,
) {
    pipeline.execute("ROLLBACK").await;
    until("all is recorded", async || pipeline.number("SELECT count(*) FROM events").await == events).await;
    stop.cancel();
    working.await.unwrap();
    assert_eq!(pipeline.quarantined().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_workers_died_waits_until_nothing_else_is_worked_on() {
    let (pipeline, stop, working) = a_worker_with_a_slow_source().await;
    let last = receive(&pipeline, "slow", "other").await;
    until("it is worked on", async || pipeline.number(WAITING).await > 0).await;

    receive_suspect(&pipeline, "wa", "suspect", &last).await;

    until("its turn comes", async || is_recorded(&pipeline, "wa", "suspect").await).await;
    assert_eq!(pipeline.number(WAITING).await, 0);
    all_are_recorded_in_the_end(4, pipeline, stop, working).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_worked_on_beside_a_job_whose_workers_died() {
    let (pipeline, stop, working) = a_worker_with_a_slow_source().await;
    let last = receive(&pipeline, "wa", "other").await;
    until("it is recorded", async || is_recorded(&pipeline, "wa", "other").await).await;
    receive_suspect(&pipeline, "slow", "suspect", &last).await;
    until("it is worked on", async || pipeline.number(WAITING).await > 0).await;

    receive(&pipeline, "wa", "next").await;

    until("its turn comes", async || is_recorded(&pipeline, "wa", "next").await).await;
    assert_eq!(pipeline.number(WAITING).await, 0);
    all_are_recorded_in_the_end(5, pipeline, stop, working).await;
}
