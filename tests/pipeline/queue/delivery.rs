//! Every job comes out, whatever lies beside it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use apalis_core::backend::TaskSink;
use apalis_redis::{Config, RedisStorage};
use queue::{ConsumerSettings, Held, consume};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use vocabulary::{Job, JobEntry, Replay};

use super::support::{
    Consumer, SOON, connection, enqueue, inbound, job, polls_seldom, raw_event, run, short_lived, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_20_000_jobs_is_worked_off_when_the_workers_are_back() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 20_000).await;

    let mut consumer = Consumer::start(&inbound, ConsumerSettings::default());

    assert_eq!(consumer.names(20_000).await.len(), 20_000);
    until(async || inbound.depth().await.unwrap().inflight == 0).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_jobs_that_fall_due_at_once_are_worked_off() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 10_000).await;
    let mut connection = connection(&redis.url).await;
    let (active, scheduled) =
        (format!("{}:inbound:active", redis.prefix), format!("{}:inbound:scheduled", redis.prefix));
    let ids: Vec<String> = run(&mut connection, &format!("LRANGE {active} 0 -1")).await;
    for chunk in ids.chunks(500) {
        let due: Vec<(f64, &String)> = chunk.iter().map(|id| (1.5, id)).collect();
        redis::cmd("ZADD").arg(&scheduled).arg(due).exec_async(&mut connection).await.unwrap();
    }
    let () = run(&mut connection, &format!("DEL {active}")).await;

    let mut consumer = Consumer::start(&inbound, ConsumerSettings::default());

    assert_eq!(consumer.names(10_000).await.len(), 10_000);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_job_stops_no_job() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let q = format!("{}:inbound", redis.prefix);
    let mut connection = connection(&redis.url).await;
    inbound.enqueue(&[job("first")]).await.unwrap();
    // Without bytes; foreign, without metadata; with metadata of another type; of no length; not text; the same again.
    let () = run(&mut connection, &format!("HSET {q}:data foreign not-a-job odd odd-bytes 00042 number empty ")).await;
    let () = run(&mut connection, &format!("SET {q}:meta:odd text")).await;
    let () = run(&mut connection, &format!("RPUSH {q}:active no-bytes foreign odd 00042 empty foreign")).await;
    let not_text = b"\xff\xfe".as_slice();
    redis::cmd("HSET").arg(format!("{q}:data")).arg(not_text).arg("x").exec_async(&mut connection).await.unwrap();
    redis::cmd("RPUSH").arg(format!("{q}:active")).arg(not_text).exec_async(&mut connection).await.unwrap();
    inbound.enqueue(&[job("last")]).await.unwrap();

    let mut consumer = Consumer::start(&inbound, ConsumerSettings::default());

    let names = consumer.names(7).await;
    assert!(
        ["foreign", "odd", "00042", "empty", "\u{fffd}\u{fffd}"].iter().all(|name| names.contains(*name)),
        "{names:?}"
    );
    until(async || inbound.depth().await.unwrap().inflight == 0).await;
    assert_eq!(inbound.counts().dropped, 2);
    assert!(consumer.stop().await.is_empty());
}

/// More than one command takes: Lua's unpack ends at 8,000.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_jobs_of_one_call_come_out_in_the_order_that_they_went_in() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let jobs: Vec<Job> = (0..10_000).map(job).collect();

    let stamps = inbound.enqueue(&jobs).await.unwrap();

    let mut consumer = Consumer::start(&inbound, ConsumerSettings::default());
    for (stamp, job) in stamps.into_iter().zip(jobs) {
        let held = consumer.next().await;
        assert!((held.first, held.count) == (Some(stamp), 1) && held.payload == job.encode());
    }
    assert!(consumer.stop().await.is_empty());
}

#[tokio::test]
async fn a_job_that_is_listed_again_while_it_is_held_is_handed_to_nobody() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let mut connection = connection(&redis.url).await;
    inbound.enqueue(&[job("first")]).await.unwrap();
    let mut consumer = Consumer::start_holding(&inbound, ConsumerSettings::default());
    let held = consumer.next().await;

    let () = run(&mut connection, &format!("RPUSH {}:inbound:active {}", redis.prefix, held.id)).await;
    inbound.enqueue(&[job("last")]).await.unwrap();

    assert_eq!(consumer.next().await.first.unwrap().number, 2);
    assert_eq!((inbound.counts().dropped, inbound.depth().await.unwrap().inflight), (1, 2));
    consumer.let_go();
    consumer.stop().await;
}

#[tokio::test]
async fn a_job_that_plain_apalis_redis_pushed_comes_out_without_a_stamp() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let config = Config::default().queue(format!("{}:inbound", redis.prefix));
    let mut storage = RedisStorage::new(apalis_redis::connect(&*redis.url).await.unwrap()).with_config(config);
    storage.push("theirs".to_owned()).await.unwrap();

    let mut consumer = Consumer::start(&inbound, ConsumerSettings::default());

    let held = consumer.next().await;
    assert_eq!((held.payload.as_ref(), held.first, held.count), (&b"\"theirs\""[..], None, 0));
    consumer.stop().await;
}

#[tokio::test]
async fn a_job_comes_out_with_the_bytes_and_the_stamps_that_it_went_in_with() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let two = Job::of([raw_event("a"), raw_event("b\0\u{1f}")]);

    let stamps = inbound.enqueue(&[job("before"), two.clone()]).await.unwrap();
    let mut consumer = Consumer::start(&inbound, ConsumerSettings::default());

    let (_, held) = (consumer.next().await, consumer.next().await);
    assert_eq!((held.first.as_ref(), held.count, held.unclean_starts), (Some(&stamps[1]), 2, 0));
    assert_eq!(Job::decode(&held.payload).unwrap(), two);
    consumer.stop().await;
}

#[tokio::test]
async fn an_idle_worker_is_woken_by_an_enqueue_however_seldom_it_polls() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let mut consumer = Consumer::start(&inbound, polls_seldom());

    for n in 0..20 {
        inbound.enqueue(&[job(n)]).await.unwrap();
        consumer.next().await;
    }

    consumer.stop().await;
}

#[tokio::test]
async fn nothing_is_fetched_while_paused() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let mut consumer = Consumer::start_paused(&inbound, ConsumerSettings::default(), true);
    enqueue(&inbound, 3).await;

    assert!(consumer.is_idle_for(Duration::from_millis(1500)).await);
    assert_eq!(inbound.depth().await.unwrap().ready, 3);

    consumer.pause.send(false).unwrap();
    consumer.let_go();
    consumer.names(3).await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_deferred_job_comes_back_once_it_is_due_and_not_before() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let mut consumer = Consumer::start_holding(&inbound, ConsumerSettings::default());
    enqueue(&inbound, 1).await;
    let held = consumer.next().await;

    let deferred_at = std::time::Instant::now();
    inbound.defer(&[(held.id.clone(), Duration::from_millis(300))]).await.unwrap();

    let again = consumer.next().await;
    assert!(deferred_at.elapsed() >= Duration::from_millis(299));
    assert_eq!((again.id, again.first, again.unclean_starts), (held.id, held.first, 0));
    consumer.let_go();
    consumer.stop().await;
}

#[tokio::test]
async fn an_idle_worker_takes_a_deferred_job_once_it_is_due_however_seldom_it_polls() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let mut consumer = Consumer::start_holding(&inbound, polls_seldom());
    enqueue(&inbound, 1).await;
    let held = consumer.next().await;
    assert!(consumer.is_idle_for(Duration::from_millis(300)).await);

    inbound.defer(&[(held.id.clone(), Duration::from_millis(10))]).await.unwrap();

    let again = consumer.next().await;
    assert_eq!((again.id, again.first), (held.id, held.first));
    consumer.let_go();
    consumer.stop().await;
}

#[tokio::test]
async fn an_idle_worker_takes_what_is_left_of_a_job_once_it_is_due_however_seldom_it_polls() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let mut consumer = Consumer::start_holding(&inbound, polls_seldom());
    let stamps = inbound.enqueue(&[Job::of(["one", "two"].map(raw_event))]).await.unwrap();
    let held = consumer.next().await;
    assert!(consumer.is_idle_for(Duration::from_millis(300)).await);

    let two = JobEntry { raw_event: raw_event("two"), replay: None };
    inbound.defer_rest(&held.id, vec![(stamps[1].clone(), two)], Duration::from_millis(10)).await.unwrap();

    let again = consumer.next().await;
    assert_eq!((again.first.as_ref(), again.count), (Some(&stamps[1]), 1));
    consumer.let_go();
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_handler_defers_its_own_job_and_no_other() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 50).await;
    let (tell, mut done) = mpsc::unbounded_channel();
    let (settling, has_panicked) = (inbound.clone(), Arc::new(AtomicBool::new(false)));
    let handle = move |held: Held| {
        let (inbound, has_panicked, tell) = (settling.clone(), has_panicked.clone(), tell.clone());
        async move {
            let panics = held.first.unwrap().number == 7 && !has_panicked.swap(true, Relaxed);
            assert!(!panics, "a bug in a handler");
            inbound.settle(std::slice::from_ref(&held.id)).await.unwrap();
            tell.send(held.id.job().into_owned()).unwrap();
        }
    };

    let (stop, (_pause, is_paused)) = (CancellationToken::new(), watch::channel(false));
    let task = tokio::spawn(consume(inbound.clone(), ConsumerSettings::default(), is_paused, stop.clone(), handle));
    let mut names = Vec::new();
    for _ in 0..50 {
        names.push(timeout(SOON, done.recv()).await.unwrap().unwrap());
    }

    assert!(names.last().unwrap().ends_with("-7-1"), "it came last, because it was put off");
    assert_eq!((inbound.counts().panicked, inbound.counts().stranded), (1, 0));
    stop.cancel();
    task.await.unwrap();
}

/// Neither the bytes nor what came to be known beside them, whether that is much or nothing.
#[tokio::test]
async fn of_a_job_that_is_settled_nothing_is_left() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let (q, mut connection) = (format!("{}:inbound", redis.prefix), connection(&redis.url).await);
    let replay = Replay { stamp: "lost-1".parse().unwrap(), item: None };
    inbound.replay(JobEntry { raw_event: raw_event("a replay"), replay: Some(replay) }).await.unwrap();
    enqueue(&inbound, 3).await;
    let mut consumer = Consumer::start_holding(&inbound, ConsumerSettings::default());
    let first = [consumer.next().await, consumer.next().await, consumer.next().await, consumer.next().await];
    inbound.defer(&[(first[1].id.clone(), Duration::ZERO)]).await.unwrap();
    let again = consumer.next().await;
    assert!((again.id == first[1].id, inbound.start_alone(&first[2].id).await.unwrap()) == (true, true));

    inbound.settle(&first.map(|held| held.id)).await.unwrap();

    let left: Vec<String> = run(&mut connection, &format!("KEYS {q}:meta:*")).await;
    assert_eq!((left, inbound.depth().await.unwrap().all()), (vec![], 0));
    consumer.let_go();
    consumer.stop().await;
}

#[tokio::test]
async fn a_handler_that_settles_nothing_has_its_job_back_in_the_queue() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 1).await;
    let (tell, mut starts) = mpsc::unbounded_channel();
    let handle = move |held: Held| {
        let tell = tell.clone();
        async move { drop(tell.send(held.id)) }
    };

    let (stop, (_pause, is_paused)) = (CancellationToken::new(), watch::channel(false));
    let task = tokio::spawn(consume(inbound.clone(), short_lived(), is_paused, stop.clone(), handle));

    let first = timeout(SOON, starts.recv()).await.unwrap();
    let second = timeout(SOON, starts.recv()).await.unwrap();
    assert_eq!(first, second);
    assert!(inbound.counts().stranded >= 1);
    stop.cancel();
    task.await.unwrap();
}
