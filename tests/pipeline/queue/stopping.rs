//! A stop hangs nothing and loses nothing.

use std::{collections::HashSet, time::Duration};

use queue::ConsumerSettings;

use super::support::{Consumer, connection, enqueue, inbound, narrow, run, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_with_many_batches_in_flight_ends_and_loses_nothing() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 1000).await;
    let wide = ConsumerSettings { concurrency: 200, ..ConsumerSettings::default() };
    let mut consumer = Consumer::start_holding(&inbound, wide);
    let started = consumer.names(200).await;

    consumer.stop.cancel();
    consumer.let_go();
    assert!(consumer.stop().await.is_empty(), "nothing is started after a stop");

    let depth = inbound.depth().await.unwrap();
    assert_eq!((depth.ready, depth.inflight, depth.unreachable), (800, 0, 0));
    let mut next = Consumer::start(&inbound, ConsumerSettings::default());
    assert!(next.names(800).await.is_disjoint(&started));
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_while_jobs_are_being_fetched_strand_none() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 3000).await;
    let mut done = HashSet::new();

    for _ in 0..25 {
        let settings = ConsumerSettings { concurrency: 20, ..ConsumerSettings::default() };
        let mut consumer = Consumer::start(&inbound, settings);
        done.insert(consumer.next().await.id.job().into_owned());
        done.extend(consumer.stop().await.iter().map(|held| held.id.job().into_owned()));

        let depth = inbound.depth().await.unwrap();
        assert_eq!((depth.inflight, depth.ready + done.len() as u64), (0, 3000));
    }
}

#[tokio::test]
async fn a_stop_whose_last_fetch_redis_answers_late_strands_nothing() {
    let server = tests::private_redis();
    let redis = tests::TestRedis { url: server.url(), prefix: "p".into() };
    let inbound = inbound(&redis);
    let mut connection = connection(&redis.url).await;
    enqueue(&inbound, 10).await;
    let consumer = Consumer::start_paused(&inbound, ConsumerSettings::default(), true);
    until(async || run::<usize>(&mut connection, "ZCARD p:inbound:workers").await == 1).await;

    // Redis stores writes up, for longer than the fetcher needs to send its fetch.
    let () = run(&mut connection, "CLIENT PAUSE 1000 WRITE").await;
    consumer.pause.send(false).unwrap();
    until(async || run::<String>(&mut connection, "INFO clients").await.contains("blocked_clients:1")).await;
    let never_started = consumer.stop().await;

    let depth = inbound.depth().await.unwrap();
    assert_eq!((depth.ready, depth.inflight, never_started.len()), (10, 0, 0));
}

#[tokio::test]
async fn a_fetch_that_comes_after_the_farewell_gets_nothing() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 3).await;
    let fetch = redis::Script::new(include_str!("../../../crates/queue/lua/fetch.lua"));
    let mut late = fetch.prepare_invoke();
    for key in ["workers", "active", "scheduled", "data", "inflight:gone"] {
        late.key(format!("{}:inbound:{key}", redis.prefix));
    }
    late.arg("gone").arg(format!("{}:inbound:meta", redis.prefix)).arg(10).arg(1000);

    let answer: Option<redis::Value> = late.invoke_async(&mut connection(&redis.url).await).await.unwrap();

    let depth = inbound.depth().await.unwrap();
    assert_eq!((answer, depth.ready, depth.unreachable), (None, 3, 0));
}

#[tokio::test]
async fn handlers_that_outlast_the_drain_are_cut_and_their_jobs_go_back() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 5).await;
    let hasty = ConsumerSettings { drain: Duration::from_millis(200), ..narrow() };
    let mut consumer = Consumer::start_holding(&inbound, hasty);
    consumer.next().await;

    consumer.stop().await;

    let depth = inbound.depth().await.unwrap();
    assert_eq!((depth.ready, depth.inflight), (5, 0));
}

#[tokio::test]
async fn a_stopped_worker_leaves_no_trace() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 1).await;
    let mut consumer = Consumer::start(&inbound, ConsumerSettings::default());
    consumer.next().await;

    consumer.stop().await;

    let mut connection = connection(&redis.url).await;
    let mut left: Vec<String> = run(&mut connection, &format!("KEYS {}:*", redis.prefix)).await;
    left.sort();
    assert_eq!(left, [format!("{}:inbound:incarnation", redis.prefix)]);
}

#[tokio::test]
async fn no_two_starts_share_a_name_and_a_stale_registration_blocks_nobody() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let (mut one, mut other) =
        (Consumer::start_holding(&inbound, narrow()), Consumer::start_holding(&inbound, narrow()));
    enqueue(&inbound, 4).await;
    let names = [one.next().await.id.worker().to_owned(), other.next().await.id.worker().to_owned()];
    one.die().await;
    other.die().await;

    let mut third = Consumer::start(&inbound, ConsumerSettings::default());
    inbound.enqueue(&[super::support::job("late")]).await.unwrap();

    let name = third.next().await.id.worker().to_owned();
    assert_ne!(names[0], names[1]);
    assert!(!names.contains(&name));
    third.stop().await;
}
