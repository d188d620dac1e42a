//! Keys of senders: what was enqueued under one is not enqueued again, and what is remembered of them is bounded.

use queue::{EnqueueError, Inbound};
use vocabulary::{Job, Once, Stamp};

use super::support::{connection, inbound, job, raw_event, run};

const DAY: i64 = 24 * 3600;

fn once(key: &str) -> Once {
    Once::new(&"wa".parse().unwrap(), key, &[b"the request"])
}

async fn enqueue(inbound: &Inbound, key: &str) -> Vec<Stamp> {
    inbound.enqueue_once(&[job(key)], &once(key)).await.unwrap()
}

#[tokio::test]
async fn jobs_under_a_key_are_made_ready_once_whatever_their_number_and_keep_their_stamps() {
    let inbound = inbound(&tests::redis().await);
    let jobs = [Job::of((0..3).map(|_| raw_event("x"))), job("y")];

    let before = enqueue(&inbound, "another").await;
    let first = inbound.enqueue_once(&jobs, &once("k")).await.unwrap();
    let again = inbound.enqueue_once(&jobs, &once("k")).await.unwrap();
    let next = inbound.enqueue(&[job("z")]).await.unwrap();

    assert_eq!((first.len(), &again), (4, &first));
    let numbers = [&before[0], &first[0], &first[3], &next[0]].map(|stamp| stamp.number);
    assert_eq!(numbers, [1, 2, 5, 6]);
    assert_eq!(inbound.depth().await.unwrap().ready, 4);
}

#[tokio::test]
async fn another_request_under_a_key_changes_nothing() {
    let inbound = inbound(&tests::redis().await);
    enqueue(&inbound, "k").await;

    let other = Once::new(&"wa".parse().unwrap(), "k", &[b"another request"]);
    let refused = inbound.enqueue_once(&[job("k")], &other).await;

    assert!(matches!(refused, Err(EnqueueError::KeyReused)), "{refused:?}");
    assert_eq!(inbound.depth().await.unwrap().ready, 1);
}

#[tokio::test]
async fn a_key_is_known_to_a_redis_that_was_killed_and_the_stamps_are_those_of_before() {
    let mut server = tests::private_redis();
    let inbound = inbound(&tests::TestRedis { url: server.url(), prefix: "p".into() });
    let before = enqueue(&inbound, "k").await;

    server.kill();
    server.restart().unwrap();
    let (again, other) = (enqueue(&inbound, "k").await, enqueue(&inbound, "l").await);

    assert_eq!(again, before);
    assert_ne!(other[0].incarnation, before[0].incarnation);
}

#[tokio::test]
async fn a_key_is_known_for_a_day_at_least_and_forgotten_after_two() {
    let redis = tests::redis().await;
    let (inbound, mut connection) = (inbound(&redis), connection(&redis.url).await);
    let newer = format!("{}:inbound:once:wa", redis.prefix);
    let first = enqueue(&inbound, "first").await;
    let left: i64 = run(&mut connection, &format!("TTL {newer}")).await;

    // A day passes; and, one key later, another.
    let () = run(&mut connection, &format!("EXPIRE {newer} {DAY}")).await;
    enqueue(&inbound, "second").await;
    let after_a_day = enqueue(&inbound, "first").await;
    let older: i64 = run(&mut connection, &format!("TTL {newer}:before")).await;
    let () = run(&mut connection, &format!("EXPIRE {newer} {DAY}")).await;
    enqueue(&inbound, "third").await;
    let after_two = enqueue(&inbound, "first").await;

    assert!((2 * DAY - 60..=2 * DAY).contains(&left) && (DAY - 60..=DAY).contains(&older), "{left} {older}");
    assert_eq!(after_a_day, first);
    assert_ne!(after_two, first);
}

#[tokio::test]
async fn of_a_source_that_uses_many_keys_the_last_two_hundred_thousand_are_known_in_64_mib() {
    let redis = tests::redis().await;
    let (inbound, mut connection) = (inbound(&redis), connection(&redis.url).await);
    let newer = format!("{}:inbound:once:wa", redis.prefix);
    let first = enqueue(&inbound, "first").await;
    fill(&mut connection, &newer).await;

    let full = enqueue(&inbound, "second").await;
    let (known, second) = (enqueue(&inbound, "first").await, enqueue(&inbound, "second").await);
    let one: u64 = run(&mut connection, &format!("MEMORY USAGE {newer}:before SAMPLES 0")).await;
    fill(&mut connection, &newer).await;
    enqueue(&inbound, "third").await;
    let forgotten = enqueue(&inbound, "first").await;

    assert_eq!((&known, &second), (&first, &full));
    assert_ne!(forgotten, first);
    assert!(2 * one < 64 << 20, "{one} bytes a generation");
    let kept: u64 = run(&mut connection, &format!("HLEN {newer}:before")).await;
    assert_eq!(kept, 200_000);
}

/// Fills a generation up with keys as large as ours, in steps that keep nobody else waiting for long.
async fn fill(connection: &mut redis::aio::MultiplexedConnection, generation: &str) {
    let script = redis::Script::new(
        "local from = redis.call('HLEN', KEYS[1]) + 1
        for i = from, math.min(from + 9999, 200000) do
            redis.call('HSET', KEYS[1], string.format('%016d', i), string.format('%016d0123456789abcdef-%d', i, 1e8 + i))
        end
        return from > 200000",
    );
    while !script.key(generation).invoke_async::<bool>(connection).await.unwrap() {}
}
