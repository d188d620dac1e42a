//! The library, without the door: what another app embeds.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use producer::{EnqueueError, Producer, ProducerSettings};
use queue::{Inbound, Redis};
use tests::private_redis;

use super::{
    door::{begin, raw_event},
    outage::Frozen,
};

fn numbers(stamps: &[vocabulary::Stamp]) -> Vec<u64> {
    stamps.iter().map(|stamp| stamp.number).collect()
}

async fn producer() -> (Producer, Inbound) {
    let redis = tests::redis().await;
    let redis = Redis::new(&redis.url, &redis.prefix).unwrap();
    (Producer::new(&redis, ProducerSettings::default()), Inbound::new(&redis))
}

#[tokio::test]
async fn each_caller_gets_the_stamps_of_its_own_raw_events_in_order() {
    let (producer, _) = producer().await;
    let batch: Vec<_> = (0..200).map(|number| raw_event(number.to_string())).collect();

    let first = producer.enqueue(&raw_event("first")).await.unwrap();
    let stamps = producer.enqueue_batch(&batch).await.unwrap();
    let last = producer.enqueue(&raw_event("last")).await.unwrap();

    assert_eq!(first.number, 1);
    assert_eq!(numbers(&stamps), (2..=201).collect::<Vec<_>>());
    assert_eq!(last.number, 202);
}

#[tokio::test]
async fn a_batch_of_nothing_is_enqueued_at_once() {
    let (producer, inbound) = producer().await;

    assert_eq!(producer.enqueue_batch(&[]).await.unwrap(), []);

    assert_eq!(inbound.depth().await.unwrap().ready, 0);
}

/// What shares a job with others must come out of it again.
#[tokio::test]
async fn a_raw_event_that_nobody_could_keep_is_refused_by_its_place_and_nothing_of_its_batch_is_taken() {
    let (producer, inbound) = producer().await;
    let (mut nul, mut late) = (raw_event("nul"), raw_event("late"));
    nul.headers = vec![("x-id".into(), "\0".into())];
    late.received_at = chrono::DateTime::from_timestamp(400_000_000_000, 0).unwrap();

    for odd in [nul, late] {
        let refused = producer.enqueue_batch(&[raw_event("one"), odd]).await.unwrap_err();
        assert!(matches!(refused, EnqueueError::Unkeepable { place: 1, .. }), "{refused:?}");
        assert!(refused.to_string().contains("raw event 2 of 2 cannot be kept"), "{refused}");
    }

    assert_eq!(inbound.depth().await.unwrap().ready, 0);
    assert!(producer.enqueue(&raw_event("one")).await.is_ok());
}

#[tokio::test]
async fn a_job_carries_at_most_64_raw_events() {
    let (producer, inbound) = producer().await;
    let batch: Vec<_> = (0..130).map(|number| raw_event(number.to_string())).collect();

    producer.enqueue_batch(&batch).await.unwrap();

    let mut counts: Vec<_> = inbound.pending().await.unwrap().iter().map(|job| job.count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [2, 64, 64]);
}

#[tokio::test]
async fn a_caller_that_gives_up_costs_nobody_else_anything() {
    let redis = private_redis();
    let server = Redis::new(&redis.url(), "latchhook").unwrap();
    let producer = Producer::new(&server, ProducerSettings::default());
    producer.enqueue(&raw_event("before")).await.unwrap();
    let bodies: Vec<_> = (0..8).map(|number| raw_event(number.to_string())).collect();

    let frozen = Frozen::freeze(&redis);
    let mut stays: Vec<_> = Vec::new();
    for raw_event in &bodies {
        let mut gives_up = Box::pin(producer.enqueue(raw_event));
        begin(gives_up.as_mut()).await;
        let mut stay = Box::pin(producer.enqueue(raw_event));
        begin(stay.as_mut()).await;
        stays.push(stay);
    }
    drop(frozen);
    let mut stamps = Vec::new();
    for stay in stays {
        stamps.push(stay.await.unwrap());
    }

    let mut unique = numbers(&stamps);
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), 8);
    let pending: u32 = Inbound::new(&server).pending().await.unwrap().iter().map(|job| job.count).sum();
    assert!((9..=17).contains(&pending), "{pending}");
}

#[tokio::test]
async fn what_redis_has_not_confirmed_in_time_is_an_error_for_all_who_wait() {
    let redis = private_redis();
    let settings = ProducerSettings { deadline: Duration::from_millis(200), ..ProducerSettings::default() };
    let producer = Producer::new(&Redis::new(&redis.url(), "latchhook").unwrap(), settings);
    producer.enqueue(&raw_event("before")).await.unwrap();

    let _frozen = Frozen::freeze(&redis);
    let (one, other) = (raw_event("one"), raw_event("other"));
    let (one, other) = tokio::join!(producer.enqueue(&one), producer.enqueue(&other));

    assert!(matches!(one, Err(EnqueueError::Unconfirmed)), "{one:?}");
    assert!(matches!(other, Err(EnqueueError::Unconfirmed)), "{other:?}");
    assert_eq!(producer.counters().pushes.get(), 1);
}

#[tokio::test]
async fn who_waits_behind_others_waits_no_longer_than_they_do() {
    let redis = private_redis();
    let settings =
        ProducerSettings { deadline: Duration::from_secs(1), pushes_in_flight: 1, ..ProducerSettings::default() };
    let producer = Producer::new(&Redis::new(&redis.url(), "latchhook").unwrap(), settings);
    // Too large to share a push.
    let large = raw_event(vec![0; 5 << 20]);
    let began = Instant::now();

    let _frozen = Frozen::freeze(&redis);
    let (one, two, three) = tokio::join!(producer.enqueue(&large), producer.enqueue(&large), producer.enqueue(&large));

    assert!([one, two, three].iter().all(|answer| matches!(answer, Err(EnqueueError::Unconfirmed))));
    assert!(began.elapsed() < Duration::from_millis(1900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_could_never_fit_is_told_apart_from_what_does_not_fit_now() {
    let redis = tests::redis().await;
    let redis = Redis::new(&redis.url, &redis.prefix).unwrap();
    let producer = Producer::new(&redis, ProducerSettings { backlog_bytes: 2000, ..ProducerSettings::default() });

    let error = producer.enqueue(&raw_event(vec![0; 2001])).await.unwrap_err();

    assert!(matches!(error, EnqueueError::TooLarge { max: 2000, .. }), "{error}");
    assert_eq!(producer.enqueue(&raw_event(vec![0; 1000])).await.unwrap().number, 1);
}

#[tokio::test]
async fn closing_answers_those_who_wait_and_refuses_the_rest() {
    let redis = private_redis();
    let server = Redis::new(&redis.url(), "latchhook").unwrap();
    let producer = Producer::new(&server, ProducerSettings::default());

    let frozen = Frozen::freeze(&redis);
    let waits = raw_event("waits");
    let mut waiting = Box::pin(producer.enqueue(&waits));
    begin(waiting.as_mut()).await;
    let mut closing = pin!(producer.close());
    begin(closing.as_mut()).await;
    let late = producer.enqueue(&raw_event("late")).await;
    drop(frozen);
    closing.await;

    assert!(matches!(late, Err(EnqueueError::Closed)), "{late:?}");
    assert_eq!(waiting.await.unwrap().number, 1);
}
