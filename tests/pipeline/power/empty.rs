//! A Redis that comes back empty: what was queued and not yet committed is lost and named, and nothing else.

use latchhook::servers::RedisSettings;
use queue::{ConsumerSettings, Held, consume};
use tests::{Pipeline, a_text, raw_event};
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use vocabulary::Job;

use super::{audit, machine::Machine};

/// Three committed, and two that wait.
async fn a_pipeline(machine: &Machine) -> (Pipeline, String) {
    let pipeline = Pipeline::over(machine.redis.clone()).await;
    for n in 1..=3 {
        pipeline.receive(a_text(&format!("wamid.{n}"), "committed")).await;
    }
    for n in 4..=5 {
        pipeline.enqueue(a_text(&format!("wamid.{n}"), "queued")).await;
    }
    let audit = audit(&pipeline.test_database, &machine.redis).await;
    assert!(audit.is_kept, "{}", audit.report);
    let incarnation = pipeline.rows("SELECT incarnation FROM receipts LIMIT 1", &[]).await[0].get(0);
    (pipeline, incarnation)
}

/// What a worker is handed that has begun since. (The pipeline's own waits for the two that it will never work on.)
async fn taken_anew(machine: &Machine) -> Held {
    let (hand, mut taken) = mpsc::channel(1);
    let handle = move |held| {
        let hand = hand.clone();
        async move { hand.send(held).await.unwrap_or_default() }
    };
    let (_never, pause) = watch::channel(false);
    let consuming = consume(machine.producer(), ConsumerSettings::default(), pause, CancellationToken::new(), handle);
    let _consuming = AbortOnDropHandle::new(tokio::spawn(consuming));
    taken.recv().await.unwrap()
}

/// Nothing that was committed is gone, what comes now is recorded, and what was queued is missing: exactly that.
async fn goes_on(machine: &Machine, pipeline: &Pipeline, incarnation: &str) {
    let before = audit(&pipeline.test_database, &machine.redis).await;
    let unknown = format!("numbers above 3 of incarnation {incarnation}: unknown");
    assert!(!before.is_kept && before.report.to_string().contains(&unknown), "{}", before.report);

    let job = Job::of([raw_event("wa", a_text("wamid.6", "new"))]);
    let next = pipeline.inbound.enqueue(&[job]).await.unwrap().remove(0);
    pipeline.worker.work(vec![taken_anew(machine).await]).await;

    assert_eq!((next.number, next.incarnation.as_str() == incarnation), (1, false));
    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.2", "wamid.3", "wamid.6"]);
    let after = audit(&pipeline.test_database, &machine.redis).await;
    assert!(!after.is_kept);
    assert_eq!(after.named(), [4, 5].map(|number| format!("{incarnation}-{number}")));
    assert_eq!(after.missing.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_empty_loses_what_was_queued_and_not_committed_and_that_is_named() {
    let mut machine = Machine::start(&RedisSettings::durable());
    let (pipeline, incarnation) = a_pipeline(&machine).await;

    machine.comes_back_empty();

    goes_on(&machine, &pipeline, &incarnation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_flushed_loses_what_was_queued_and_not_committed_and_that_is_named() {
    let machine = Machine::start(&RedisSettings::durable());
    let (pipeline, incarnation) = a_pipeline(&machine).await;

    let client = redis::Client::open(machine.redis.url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();

    goes_on(&machine, &pipeline, &incarnation).await;
}
