//! Stamps: numbers without gaps, in incarnations that never give one twice.

use std::collections::HashSet;

use queue::{ConsumerSettings, Inbound, PendingJob};
use vocabulary::{Incarnation, Job, JobEntry, Replay, Stamp};

use super::support::{Consumer, connection, enqueue, inbound, job, raw_event, run};

async fn last_numbers(inbound: &Inbound) -> HashSet<(Incarnation, u64)> {
    inbound.last_numbers().await.unwrap().into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_that_enqueue_at_once_get_numbers_without_gaps() {
    let redis = tests::redis().await;
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(16));

    let producers = (0..16).map(|_| {
        let (inbound, barrier) = (inbound(&redis), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            let mut stamps = Vec::new();
            for n in 1..=20 {
                stamps.extend(inbound.enqueue(&[Job::of((0..n).map(|_| raw_event("x"))), job("y")]).await.unwrap());
            }
            stamps
        })
    });
    let mut stamps: Vec<Stamp> = Vec::new();
    for producer in producers.collect::<Vec<_>>() {
        stamps.extend(producer.await.unwrap());
    }

    stamps.sort();
    let numbers: Vec<u64> = stamps.iter().map(|stamp| stamp.number).collect();
    assert_eq!(numbers, (1..=16 * (210 + 20)).collect::<Vec<_>>());
    assert!(stamps.iter().all(|stamp| stamp.incarnation == stamps[0].incarnation));
}

#[tokio::test]
async fn a_restarted_redis_begins_an_incarnation_and_remembers_the_last_number_of_the_one_before() {
    let mut server = tests::private_redis();
    let inbound = inbound(&tests::TestRedis { url: server.url(), prefix: "p".into() });
    let before = inbound.enqueue(&[job(1), job(2)]).await.unwrap();

    server.kill();
    server.restart().unwrap();
    let after = inbound.enqueue(&[job(3)]).await.unwrap();

    assert_ne!(before[0].incarnation, after[0].incarnation);
    assert_eq!(after[0].number, 1);
    let known = [(before[0].incarnation.clone(), 2), (after[0].incarnation.clone(), 1)];
    assert_eq!(last_numbers(&inbound).await, HashSet::from(known));
}

/// Without the reminder nobody could tell that the flushed numbers were ever given.
#[tokio::test]
async fn a_flushed_redis_begins_an_incarnation_and_is_reminded_of_the_one_before() {
    let server = tests::private_redis();
    let inbound = inbound(&tests::TestRedis { url: server.url(), prefix: "p".into() });
    let before = inbound.enqueue(&[job(1), job(2)]).await.unwrap();

    let () = run(&mut connection(&server.url()).await, "FLUSHALL").await;
    let after = inbound.enqueue(&[job(3)]).await.unwrap();

    assert_ne!(before[0].incarnation, after[0].incarnation);
    let expected = [(before[0].incarnation.clone(), 2), (after[0].incarnation.clone(), 1)];
    assert_eq!(last_numbers(&inbound).await, HashSet::from(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_unsettled_number_is_pending_wherever_its_job_is() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let stamps = inbound.enqueue(&[Job::of([raw_event("a"), raw_event("b"), raw_event("c")])]).await.unwrap();
    let mut consumer = Consumer::start_holding(&inbound, ConsumerSettings { concurrency: 1, ..Default::default() });
    let deferred = consumer.next().await;
    inbound.defer(&[(deferred.id, std::time::Duration::from_secs(3600))]).await.unwrap();
    consumer.let_go();
    consumer.stop().await;
    enqueue(&inbound, 1500).await;
    let mut consumer = Consumer::start_holding(&inbound, ConsumerSettings { concurrency: 50, ..Default::default() });
    consumer.names(50).await;

    let pending = inbound.pending().await.unwrap();

    let incarnation = stamps[0].incarnation.clone();
    let expected = std::iter::once((1, 3)).chain((4..=1503).map(|first| (first, 1)));
    let expected = expected.map(|(first, count)| PendingJob { incarnation: incarnation.clone(), first, count });
    assert_eq!(pending, expected.collect::<Vec<_>>());
    consumer.let_go();
    consumer.stop().await;
}

#[tokio::test]
async fn a_replay_gets_no_number() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let stamp = inbound.enqueue(&[job("first")]).await.unwrap().remove(0);
    let replay = Replay { stamp: stamp.clone(), item: Some(3) };
    let entry = JobEntry { raw_event: raw_event("first"), replay: Some(replay) };

    inbound.replay(entry.clone()).await.unwrap();

    assert_eq!(last_numbers(&inbound).await, HashSet::from([(stamp.incarnation.clone(), 1)]));
    let mut consumer = Consumer::start(&inbound, ConsumerSettings::default());
    let (_, held) = (consumer.next().await, consumer.next().await);
    assert_eq!((held.first, held.count), (None, 0));
    assert_eq!(Job::decode(&held.payload).unwrap().entries, [entry]);
    consumer.stop().await;
}

/// Whoever may write past the script can call a job anything.
#[tokio::test]
async fn a_job_that_is_called_by_numbers_that_are_yet_to_be_given_has_none() {
    let redis = tests::redis().await;
    let (inbound, mut connection) = (inbound(&redis), connection(&redis.url).await);
    let last = inbound.enqueue(&[job("first")]).await.unwrap().remove(0);
    let and_a_strangers = "HSET {}:inbound:incarnations 00ff00ff00ff00ff 7 stranger words";
    let () = run(&mut connection, &and_a_strangers.replace("{}", &redis.prefix)).await;
    let forged = [(2, 4096), (1, 2)].map(|(first, count)| format!("{}-{first}-{count}", last.incarnation));
    let of_an_earlier_one = ["00ff00ff00ff00ff-7-1", "00ff00ff00ff00ff-7-2"].map(str::to_owned);
    for name in forged.iter().chain(&of_an_earlier_one) {
        let () = run(&mut connection, &format!("HSET {}:inbound:data {name} garbage", redis.prefix)).await;
        let () = run(&mut connection, &format!("RPUSH {}:inbound:active {name}", redis.prefix)).await;
    }
    let mut consumer = Consumer::start(&inbound, ConsumerSettings::default());

    let mut names = Vec::new();
    for _ in 0..5 {
        let held = consumer.next().await;
        names.push((held.id.job().into_owned(), held.first, held.count));
    }

    let ([a, b], [c, d]) = (forged, of_an_earlier_one);
    let earlier = Stamp { incarnation: Incarnation::new("00ff00ff00ff00ff"), number: 7 };
    let first = (format!("{last}-1"), Some(last), 1);
    assert_eq!(names, [first, (a, None, 0), (b, None, 0), (c, Some(earlier), 1), (d, None, 0)]);
    consumer.stop().await;
}

#[tokio::test]
async fn jobs_without_raw_events_are_nothing() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);

    assert!(inbound.enqueue(&[]).await.unwrap().is_empty());
    assert!(inbound.enqueue(&[Job::default()]).await.unwrap().is_empty());

    assert_eq!(inbound.depth().await.unwrap().ready, 0);
}
