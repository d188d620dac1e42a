//! Much at once: the same event from everywhere, and all that came while the workers were away.

use std::sync::Arc;

use futures::future::join_all;
use producer::{Producer, ProducerSettings};
use tests::{a_text, raw_event};
use tokio::sync::Barrier;
use worker::Settings;

use super::installation::Installation;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_a_thousand_times_at_once_on_four_producers_is_one_event_and_owed_once() {
    let mut it = Installation::new().await;
    (0..3).for_each(|_| it.employ());
    let producers: Vec<_> = (0..4).map(|_| Producer::new(&it.queue, ProducerSettings::default())).collect();
    let barrier = Arc::new(Barrier::new(1000));

    let copies = (0..1000).map(|n| {
        let (producer, barrier) = (producers[n % 4].clone(), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            producer.enqueue(&raw_event("wa", a_text("wamid.1", "hello"))).await.unwrap()
        })
    });
    join_all(copies).await;

    it.must_have_recorded(1, 1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_while_the_workers_were_away_is_recorded_when_they_are_back() {
    workers_come_back_to(20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a while: cargo nextest run -p tests --test outage --run-ignored only a_hundred_thousand"]
async fn a_backlog_of_a_hundred_thousand_jobs_is_recorded_when_the_workers_are_back() {
    workers_come_back_to(100_000).await;
}

async fn workers_come_back_to(jobs: usize) {
    let mut it = Installation::new().await;
    it.enqueue(jobs).await;

    (0..2).for_each(|_| it.employ_with(Settings::default()));

    it.must_have_recorded(jobs as u64, jobs as u64).await;
}
