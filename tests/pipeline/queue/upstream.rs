//! Plain apalis-redis still has these bugs. When one of these fails after an upgrade, read what `consume` works around.

use std::{sync::Arc, time::Duration};

use apalis::prelude::WorkerBuilderExt;
use apalis_core::{
    backend::TaskSink,
    worker::{builder::WorkerBuilder, context::WorkerContext},
};
use apalis_redis::{Config, RedisStorage};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::{sync::Notify, time::timeout};

use super::support::{SOON, connection, run, until};

async fn storage(redis: &tests::TestRedis) -> RedisStorage<u32> {
    // By default it polls once and is then deaf for 30 s, and gives up on a Redis that is busy for 500 ms.
    let config = Config::default().queue(format!("{}:plain", redis.prefix)).batch_size(10).lock_tasks(false);
    let patient = ConnectionManagerConfig::new().set_response_timeout(Some(SOON));
    let client = redis::Client::open(&*redis.url).unwrap();
    let connection = ConnectionManager::new_with_config(client, patient).await.unwrap();
    RedisStorage::new(connection).with_config(config.heartbeat_interval(Duration::from_secs(1)))
}

/// Runs a plain worker until it dies, and says of what.
async fn death_of_a_worker(storage: RedisStorage<u32>) -> String {
    let worker = WorkerBuilder::new("plain").backend(storage).build(|_: u32| async {});
    timeout(SOON, worker.run()).await.expect("it dies").unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_8_000_due_jobs_kill_every_worker_at_its_first_poll() {
    let redis = tests::redis().await;
    let mut storage = storage(&redis).await;
    storage.push_bulk((0..8000).collect()).await.unwrap();
    // A push is due within its second.
    let mut connection = connection(&redis.url).await;
    let due = format!("ZRANGEBYSCORE {}:plain:scheduled 0 ", redis.prefix);
    until(async || {
        let now: (u64, u64) = run(&mut connection, "TIME").await;
        run::<Vec<String>>(&mut connection, &format!("{due}{}", now.0)).await.len() == 8000
    })
    .await;

    let death = death_of_a_worker(storage).await;

    assert!(death.contains("too many results to unpack"), "{death}");
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_one_undecodable_job_kills_a_worker() {
    let redis = tests::redis().await;
    let storage = storage(&redis).await;
    let (mut connection, q) = (connection(&redis.url).await, format!("{}:plain", redis.prefix));
    let () = run(&mut connection, &format!("HSET {q}:data bad not-json")).await;
    let () = run(&mut connection, &format!("HSET {q}:meta:bad attempts 0 max_attempts 25 status Pending")).await;
    let () = run(&mut connection, &format!("RPUSH {q}:active bad")).await;

    let death = death_of_a_worker(storage).await;

    assert!(death.contains("expected"), "{death}");
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_a_stop_with_more_than_four_batches_in_flight_hangs() {
    let redis = tests::redis().await;
    let mut storage = storage(&redis).await;
    let (q, mut connection) = (format!("{}:plain", redis.prefix), connection(&redis.url).await);
    storage.push_bulk((0..60).collect()).await.unwrap();
    let (gate, context) = (Arc::new(Notify::new()), WorkerContext::new("plain"));
    let at_the_gate = gate.clone();
    let handle = move |_: u32| {
        let gate = at_the_gate.clone();
        async move { gate.notified().await }
    };
    let worker = WorkerBuilder::new(context.clone()).backend(storage).concurrency(100).build(handle);
    let mut worker = tokio::spawn(worker.run());
    until(async || context.task_count() == 60).await;

    context.stop().unwrap();
    gate.notify_waiters();

    assert!(timeout(Duration::from_secs(3), &mut worker).await.is_err(), "it ends now");
    assert!(run::<usize>(&mut connection, &format!("SCARD {q}:inflight:plain")).await > 0);
    worker.abort();
}
