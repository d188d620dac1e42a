//! What becomes of a worker's jobs when it dies, or is taken for dead.

use std::{collections::HashSet, time::Duration};

use queue::{ConsumerSettings, Held};
use vocabulary::Job;

use super::support::{Consumer, connection, enqueue, inbound, job, raw_event, run, short_lived, until};

fn short_lived_and_narrow() -> ConsumerSettings {
    ConsumerSettings { concurrency: 1, ..short_lived() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_worker_is_not_robbed_by_an_idle_one() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 2).await;
    let mut busy = Consumer::start_holding(&inbound, short_lived_and_narrow());
    busy.next().await;
    until(async || inbound.depth().await.unwrap().inflight == 2).await;

    let mut idle = Consumer::start(&inbound, short_lived());

    assert!(idle.is_idle_for(4 * short_lived().lease).await);
    assert_eq!(inbound.counts().stranded, 0);
    busy.let_go();
    busy.stop().await;
    idle.stop().await;
}

/// However the beats of two workers fall: one that was silent for most of its own lease, not the other's, still lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_lives_until_the_whole_of_its_own_lease_has_passed() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 1).await;
    let mut silent = Consumer::start_holding(&inbound, ConsumerSettings::default());
    let worker = silent.next().await.id.worker().to_owned();
    silent.die().await;
    let (workers, mut connection) = (format!("{}:inbound:workers", redis.prefix), connection(&redis.url).await);
    let (now, _): (u64, u64) = run(&mut connection, "TIME").await;
    let lease = ConsumerSettings::default().lease.as_secs();

    let () = run(&mut connection, &format!("ZADD {workers} {} {worker}", now - lease * 2 / 3)).await;
    let mut other = Consumer::start(&inbound, short_lived());
    assert!(other.is_idle_for(4 * short_lived().lease).await);

    let () = run(&mut connection, &format!("ZADD {workers} {} {worker}", now - lease - 1)).await;
    assert_eq!(other.next().await.unclean_starts, 1);
    other.stop().await;
}

/// A Redis that was away for longer than a lease has heard nobody. It would count the outage as the death of every worker, and
/// four outages as a crash loop.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_away_takes_nobody_for_dead_until_it_is_up_for_a_lease() {
    let mut server = tests::private_redis();
    let inbound = inbound(&tests::TestRedis { url: server.url(), prefix: "p".into() });
    enqueue(&inbound, 1).await;
    let mut silent = Consumer::start_holding(&inbound, ConsumerSettings::default());
    let worker = silent.next().await.id.worker().to_owned();
    silent.die().await;
    let (now, _): (u64, u64) = run(&mut connection(&server.url()).await, "TIME").await;
    let before = now - ConsumerSettings::default().lease.as_secs() - 1;
    let () = run(&mut connection(&server.url()).await, &format!("ZADD p:inbound:workers {before} {worker}")).await;

    server.kill();
    tokio::task::block_in_place(|| server.restart()).unwrap();
    let mut other = Consumer::start(&inbound, short_lived());

    assert!(other.is_idle_for(4 * short_lived().lease).await);
    assert_eq!(inbound.counts().recovered, 0);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_workers_jobs_come_to_another_and_its_death_is_counted_on_them() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 600).await;
    let wide = ConsumerSettings { concurrency: 600, ..short_lived() };
    let mut first = Consumer::start_holding(&inbound, wide.clone());
    let held = first.names(600).await;

    first.die().await;
    let mut second = Consumer::start_holding(&inbound, wide);
    let mut again = HashSet::new();
    while again.len() < 600 {
        let held = second.next().await;
        assert_eq!(held.unclean_starts, 1);
        again.insert(held.id.job().into_owned());
    }

    assert_eq!((again, inbound.counts().recovered), (held, 600));
    let mut connection = connection(&redis.url).await;
    assert_eq!(run::<usize>(&mut connection, &format!("ZCARD {}:inbound:workers", redis.prefix)).await, 1);
    second.let_go();
    second.stop().await;
}

#[tokio::test]
async fn a_settle_that_comes_after_the_job_was_taken_away_is_counted_and_harms_nothing() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 1).await;
    let mut first = Consumer::start_holding(&inbound, short_lived());
    let before = first.next().await;
    first.die().await;
    let mut second = Consumer::start_holding(&inbound, short_lived());
    let after = second.next().await;

    let late = inbound.settle(&[before.id]).await.unwrap();
    let in_time = inbound.settle(&[after.id]).await.unwrap();

    assert_eq!((late.settled, late.taken_away), (0, 1));
    assert_eq!((in_time.settled, in_time.taken_away), (1, 0));
    second.let_go();
    second.stop().await;
}

#[tokio::test]
async fn of_jobs_that_are_settled_together_one_that_was_taken_away_meanwhile_stays() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 3).await;
    let mut consumer = Consumer::start_holding(&inbound, ConsumerSettings::default());
    let held = [consumer.next().await.id, consumer.next().await.id, consumer.next().await.id];
    consumer.pause.send(true).unwrap();

    // As who takes it for dead does.
    let (q, mut connection) = (format!("{}:inbound", redis.prefix), connection(&redis.url).await);
    let () = run(&mut connection, &format!("SREM {q}:inflight:{} {}", held[1].worker(), held[1])).await;
    let () = run(&mut connection, &format!("LPUSH {q}:active {}", held[1])).await;
    let () = run(&mut connection, &format!("HSET {q}:meta:{} unclean 1", held[1])).await;
    let settled = inbound.settle(&held).await.unwrap();

    assert_eq!((settled.settled, settled.taken_away), (2, 1));
    let depth = inbound.depth().await.unwrap();
    assert_eq!((depth.ready, depth.inflight, depth.all()), (1, 0, 1));
    assert!(run::<bool>(&mut connection, &format!("EXISTS {q}:meta:{}", held[1])).await);
    consumer.let_go();
    consumer.stop().await;
}

#[tokio::test]
async fn a_worker_that_was_taken_for_dead_goes_on_under_another_name() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let mut consumer = Consumer::start(&inbound, ConsumerSettings::default());
    enqueue(&inbound, 1).await;
    let before = consumer.next().await.id.worker().to_owned();

    let mut connection = connection(&redis.url).await;
    let () = run(&mut connection, &format!("DEL {}:inbound:workers", redis.prefix)).await;
    inbound.enqueue(&[job("after")]).await.unwrap();

    let after = consumer.next().await.id.worker().to_owned();
    assert_ne!(before, after);
    assert_eq!(inbound.counts().taken_for_dead, 1);
    consumer.stop().await;
}

#[tokio::test]
async fn a_fetch_whose_answer_was_lost_leaves_nothing_stranded() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let mut consumer = Consumer::start(&inbound, short_lived());
    enqueue(&inbound, 1).await;
    let worker = consumer.next().await.id.worker().to_owned();

    // As if Redis had moved a job, and its answer had not arrived.
    let (q, mut connection) = (format!("{}:inbound", redis.prefix), connection(&redis.url).await);
    let () = run(&mut connection, &format!("HSET {q}:data moved bytes")).await;
    let () = run(&mut connection, &format!("SADD {q}:inflight:{worker} moved")).await;

    assert_eq!(consumer.next().await.id.job(), "moved");
    assert_eq!(inbound.counts().stranded, 1);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_go_on_by_themselves_after_redis_was_killed_and_came_back() {
    let mut server = tests::private_redis();
    let redis = tests::TestRedis { url: server.url(), prefix: "p".into() };
    let inbound = inbound(&redis);
    enqueue(&inbound, 500).await;
    let mut consumer = Consumer::start_holding(&inbound, ConsumerSettings { concurrency: 100, ..short_lived() });
    let mut names = consumer.names(100).await;

    server.kill();
    assert!(inbound.enqueue(&[job("refused")]).await.is_err());
    consumer.let_go();
    server.restart().unwrap();
    inbound.enqueue(&[job("after")]).await.unwrap();

    while names.len() < 501 {
        names.insert(consumer.next().await.id.job().into_owned());
    }
    until(async || {
        let depth = inbound.depth().await.unwrap();
        depth.inflight + depth.ready + depth.scheduled + depth.unreachable == 0
    })
    .await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_holder_that_no_longer_beats_is_named() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 3).await;
    let mut consumer = Consumer::start_holding(&inbound, ConsumerSettings::default());
    let worker = consumer.names(3).await.len();
    assert!(inbound.dead_workers(Duration::from_secs(30)).await.unwrap().is_empty());

    consumer.die().await;

    let dead = inbound.dead_workers(Duration::ZERO).await.unwrap();
    assert_eq!((dead.len(), dead[0].holds, dead[0].silent_for.is_some()), (1, worker as u64, true));
}

/// What is counted on a job, as (unclean starts, of these alone).
fn counted(held: &Held) -> (u32, u32) {
    (held.unclean_starts, held.unclean_alone)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_job_that_ran_alone_when_its_worker_died_has_an_unclean_start_alone() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 2).await;
    let mut first = Consumer::start_holding(&inbound, short_lived());
    let (suspect, _neighbour) = (first.next().await, first.next().await);
    assert!(inbound.start_alone(&suspect.id).await.unwrap());

    first.die().await;

    let mut second = Consumer::start_holding(&inbound, short_lived());
    for _ in 0..2 {
        let held = second.next().await;
        assert_eq!(counted(&held), (1, u32::from(held.id.job() == suspect.id.job())));
    }
    assert!(!inbound.start_alone(&suspect.id).await.unwrap(), "the dead worker does not hold it any more");
    second.let_go();
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_alone_that_was_put_off_or_given_back_is_no_unclean_start_alone() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 1).await;
    let hasty = ConsumerSettings { drain: Duration::from_millis(50), ..short_lived() };
    let mut first = Consumer::start_holding(&inbound, hasty);
    let held = first.next().await;
    inbound.start_alone(&held.id).await.unwrap();
    inbound.defer(&[(held.id, Duration::ZERO)]).await.unwrap();
    let held = first.next().await;
    inbound.start_alone(&held.id).await.unwrap();
    first.stop().await;
    let mut second = Consumer::start_holding(&inbound, short_lived());
    assert_eq!(counted(&second.next().await), (0, 0));

    second.die().await;

    let mut third = Consumer::start(&inbound, short_lived());
    assert_eq!(counted(&third.next().await), (1, 0));
    third.stop().await;
}

/// Its parts are new to whoever holds them: none of them has run alone yet, though the whole had begun to.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_job_that_was_to_run_alone_is_not_suspected_for_the_death_of_who_only_held_it() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    inbound.enqueue(&[Job::of(["one", "two"].map(raw_event))]).await.unwrap();
    let mut first = Consumer::start_holding(&inbound, short_lived());
    let whole = first.next().await;
    inbound.start_alone(&whole.id).await.unwrap();
    assert!(inbound.take_apart(&whole).await.unwrap());
    for _ in 0..2 {
        first.next().await;
    }

    first.die().await;

    let mut second = Consumer::start(&inbound, short_lived());
    for _ in 0..2 {
        assert_eq!(counted(&second.next().await), (1, 0));
    }
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_counted_on_its_job_as_the_death_of_a_worker_would_be() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 1).await;
    let mut consumer = Consumer::start_holding(&inbound, ConsumerSettings::default());
    let held = consumer.next().await;

    inbound.defer_panicked(&[held.id]).await.unwrap();
    let beside_others = consumer.next().await;
    inbound.start_alone(&beside_others.id).await.unwrap();
    inbound.defer_panicked(std::slice::from_ref(&beside_others.id)).await.unwrap();
    let alone = consumer.next().await;

    assert_eq!((counted(&beside_others), counted(&alone)), ((1, 0), (2, 1)));
    consumer.let_go();
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_taken_apart_leaves_one_for_each_of_its_raw_events_with_what_was_counted() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let stamps = inbound.enqueue(&[Job::of(["one", "two", "three"].map(raw_event))]).await.unwrap();
    let mut consumer = Consumer::start_holding(&inbound, ConsumerSettings::default());
    inbound.defer_panicked(&[consumer.next().await.id]).await.unwrap();
    let whole = consumer.next().await;

    assert!(inbound.take_apart(&whole).await.unwrap());

    for (stamp, body) in stamps.into_iter().zip(["one", "two", "three"]) {
        let part = consumer.next().await;
        let job = Job::decode(&part.payload).unwrap();
        assert_eq!((part.first.clone(), part.count, counted(&part)), (Some(stamp), 1, (1, 0)));
        assert_eq!(job.entries.iter().map(|entry| &entry.raw_event.body[..]).collect::<Vec<_>>(), [body.as_bytes()]);
        assert!(!inbound.take_apart(&part).await.unwrap(), "there is nothing to take apart");
    }
    assert_eq!(inbound.pending().await.unwrap().iter().map(|job| job.count).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(inbound.depth().await.unwrap().unreachable, 0);
    consumer.let_go();
    consumer.stop().await;
}
