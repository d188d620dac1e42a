//! Redis dies under running workers, or is full: they go on by themselves, and what it kept is recorded once.

use latchhook::servers::RedisSettings;
use queue::EnqueueError;
use tests::{a_text, raw_event};
use vocabulary::Job;

use super::installation::Installation;

#[tokio::test(flavor = "multi_thread")]
async fn workers_outlive_a_redis_that_dies_again_and_again_and_record_everything_once() {
    let mut it = Installation::new().await;
    it.employ_short_lived();
    it.employ_short_lived();
    let enqueuing = it.keep_enqueuing();

    for deaths in 1..=3 {
        it.until_recorded(50 * deaths).await;
        it.redis.kill();
        it.redis_comes_back();
    }

    it.until_recorded(200).await;
    let (raw_events, events) = enqueuing.stop().await;
    it.until_drained().await;
    assert_eq!(it.number("SELECT count(*) FROM events").await, events.cast_signed());
    assert_eq!(it.number("SELECT count(*) FROM deliveries").await, events.cast_signed());
    assert_eq!(it.number("SELECT count(*) FROM quarantine").await, 0);
    // What Redis had taken when it died without a word was handed in again.
    assert!(it.number("SELECT count(*) FROM receipts WHERE ended_at IS NOT NULL").await >= raw_events.cast_signed());
    assert_eq!(it.look().await.depth.dead, 0);
}

/// Nobody gets a claim, because a claim is a write. The ledger decides alone, and the room comes back.
#[tokio::test(flavor = "multi_thread")]
async fn workers_empty_a_redis_that_is_full_without_a_single_claim() {
    let mut it = Installation::with(&RedisSettings { maxmemory: Some(8 << 20), ..RedisSettings::fast() }).await;
    let body = |n: usize| a_text(&format!("wamid.{n}"), &"x".repeat(20_000));
    let mut raw_events = 0;
    let refusal = loop {
        match it.inbound.enqueue(&[Job::of([raw_event("wa", body(raw_events))])]).await {
            Ok(_) => raw_events += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, EnqueueError::Full(_)), "{refusal:?}");

    it.employ();

    it.must_have_recorded(raw_events as u64, raw_events as u64).await;
    assert!(it.counted(|counters| &counters.claims_unanswered) > 0, "it was not full");
    it.inbound.enqueue(&[Job::of([raw_event("wa", body(raw_events))])]).await.unwrap();
}
