//! A store that is away, full, or empty: nothing is put aside, nothing is lost, and it goes on by itself.

use forwarder::{ForwardError, Step};
use latchhook::servers::RedisSettings;
use queue::Redis;
use tests::{Pipeline, PrivateRedis, TestRedis, private_redis, private_redis_with, raw_event, until};
use vocabulary::Job;

use super::{
    app::{App, now},
    crash::start,
};

/// What a forwarder says when it cannot go on.
const TROUBLE: &str = "the outbox is not forwarded";

fn of(server: &PrivateRedis) -> TestRedis {
    TestRedis { url: server.url(), prefix: "latchhook".to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_in_which_nobody_has_published_the_sources_fails_no_row() {
    let app = App::new().await;
    app.write(None, "waits").await;
    let empty = Redis::new(&app.pipeline.test_redis.url, "nobody-was-here").unwrap();

    let error = app.forwarder_to(&empty).forward(now()).await.unwrap_err();

    assert!(matches!(error, ForwardError::NoSources), "{error:?}");
    assert_eq!((app.outbox().await.len(), app.reasons().await), (1, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_filling_up_is_given_no_more_until_the_workers_have_caught_up() {
    let server = private_redis_with(&RedisSettings { maxmemory: Some(8 << 20), ..RedisSettings::fast() });
    let app = App::over(Pipeline::over(of(&server)).await).await;
    let inbound = &app.pipeline.inbound;
    while !inbound.memory().await.unwrap().is_above_75_percent() {
        inbound.enqueue(&[Job::of([raw_event("wa", "x".repeat(20_000))])]).await.unwrap();
    }
    let before = app.queued_bodies().await;
    app.write(Some("a"), "waits").await;

    let error = app.forward().await.unwrap_err();

    assert!(matches!(error, ForwardError::Filling), "{error:?}");
    assert_eq!((app.queued_bodies().await, app.outbox().await), (before, vec!["waits".to_owned()]));
    app.forget_queued().await;
    assert_eq!(app.forward().await.unwrap(), Step::Forwarded { rows: 1, failed: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarder_outlives_a_redis_and_a_session_that_die_and_goes_on() {
    let mut server = private_redis();
    let app = App::over(Pipeline::over(of(&server)).await).await;
    let mut forwarder = start(&app, None).await;
    app.write(Some("a"), "before").await;
    until("the first is forwarded", async || app.outbox().await.is_empty()).await;

    server.kill();
    app.write(Some("a"), "meanwhile").await;
    forwarder.says(TROUBLE, 1).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name = 'latchhook'";
    app.sql.batch_execute(end).await.unwrap();
    assert_eq!(app.outbox().await, ["meanwhile"]);
    tokio::task::block_in_place(|| server.restart().unwrap());

    until("it goes on", async || app.outbox().await.is_empty()).await;
    assert_eq!(app.queued_bodies().await, ["before", "meanwhile"]);
    assert_eq!(forwarder.stop().await.matches(TROUBLE).count(), 1, "an outage is told of once");
}
