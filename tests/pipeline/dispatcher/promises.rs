//! Promises 3 and 4: told once it is true; delivered at least once, recognisably.

use std::{collections::HashSet, sync::Arc, time::Duration};

use diesel_async::SimpleAsyncConnection;
use dispatcher::{Schedule, Settings};
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    customer::Customer,
    setting::{Setting, begin, body, dispatch_all},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_carries_the_same_id_and_bytes_with_a_timestamp_and_a_signature_of_its_own() {
    let customer = Customer::answering(&[500, 503, 200]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    let mut dispatcher = setting.dispatcher();

    for _ in 0..3 {
        dispatch_all(&mut dispatcher).await;
        setting.pauses_are_over().await;
        the_clock_shows_another_second().await;
    }

    let received = customer.received();
    let distinct = |name| received.iter().map(|request| request.header(name)).collect::<HashSet<_>>().len();
    assert_eq!(received.len(), 3);
    assert_eq!((distinct("webhook-id"), distinct("webhook-timestamp"), distinct("webhook-signature")), (1, 3, 3));
    for request in &received {
        assert_eq!(request.body, body("bot-1"));
        assert_eq!(request.header("content-type"), "application/json");
        assert!(request.header("user-agent").starts_with("latchhook/"));
        assert!(request.is_signed_by(&setting.secret));
    }
    assert_eq!(setting.delivery().await, ("delivered".to_owned(), 3));
    let as_sent = "SELECT count(DISTINCT (webhook_id, body_hash)) FROM attempts JOIN deliveries USING (webhook_id)";
    assert_eq!(setting.number(as_sent).await, 1);
    assert_eq!(setting.number("SELECT count(*) FROM due").await, 0);
}

/// Timestamps are in seconds.
pub(crate) async fn the_clock_shows_another_second() {
    let shown = chrono::Utc::now().timestamp();
    while chrono::Utc::now().timestamp() == shown {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_before_commit_and_nothing_that_was_rolled_back() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let (mut kept, mut dropped) = (begin(&setting.database).await, begin(&setting.database).await);
    setting.owe_in(&kept, "bot", &["kept"]).await;
    setting.owe_in(&dropped, "bot", &["dropped"]).await;
    let mut dispatcher = setting.dispatcher();

    let before = dispatch_all(&mut dispatcher).await;
    dropped.batch_execute("ROLLBACK").await.unwrap();
    let rolled_back = dispatch_all(&mut dispatcher).await;
    kept.batch_execute("COMMIT").await.unwrap();
    let committed = dispatch_all(&mut dispatcher).await;

    assert_eq!((before, rolled_back, committed), (0, 0, 1));
    let bodies: Vec<_> = customer.received().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, [body("bot-kept")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_last_attempt_of_the_schedule_a_delivery_is_abandoned_and_stays_visible() {
    let customer = Customer::answering(&[500]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    let schedule = Schedule(vec![Duration::from_secs(60); 2]);
    let mut dispatcher = setting.dispatcher_with(Settings { schedule, ..Settings::default() });

    for _ in 0..5 {
        dispatch_all(&mut dispatcher).await;
        setting.pauses_are_over().await;
    }

    assert_eq!(customer.received().len(), 3);
    assert_eq!(setting.delivery().await, ("abandoned".to_owned(), 3));
    assert_eq!(setting.attempts().await, vec![("status".to_owned(), Some(500)); 3]);
    assert_eq!(setting.number("SELECT count(*) FROM due").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_waits_for_its_pause_by_the_clock_of_postgres() {
    let customer = Customer::answering(&[500]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    let mut dispatcher = setting.dispatcher();

    let sent = dispatch_all(&mut dispatcher).await;

    assert_eq!(sent, 1);
    let waiting = "SELECT count(*) FROM due WHERE lease IS NULL AND attempts = 1 \
                   AND due_at > now() + interval '4 seconds' AND due_at <= now() + interval '5.5 seconds'";
    assert_eq!(setting.number(waiting).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_is_overloaded_is_left_alone_for_as_long_as_it_asks() {
    let customer = Customer::answering_with(429, "retry-after", "3600").await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;

    dispatch_all(&mut setting.dispatcher()).await;

    let waiting =
        "SELECT count(*) FROM due WHERE due_at BETWEEN now() + interval '59 minutes' AND now() + interval '66 minutes'";
    assert_eq!(setting.number(waiting).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_of_a_disabled_endpoint_are_held_and_go_out_when_it_is_enabled() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.execute("UPDATE endpoints SET enabled = false").await;
    setting.owe_many("bot", 3).await;
    let mut dispatcher = setting.dispatcher();

    let held = dispatch_all(&mut dispatcher).await;
    setting.execute("UPDATE endpoints SET enabled = true").await;
    let enabled = dispatch_all(&mut dispatcher).await;

    assert_eq!((held, enabled), (0, 3));
    assert_eq!(customer.received().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_commits_wakes_the_loop_and_without_a_word_it_looks_by_itself() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let running = tokio::spawn(setting.dispatcher().run(wake.clone(), stop.clone()));

    setting.owe("bot", "woken").await;
    wake.notify_one();
    customer.has_received(1).await;
    setting.owe("bot", "found").await;
    customer.has_received(2).await;

    stop.cancel();
    timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
    assert_eq!(setting.number("SELECT count(*) FROM deliveries WHERE state = 'delivered'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_goes_out_by_itself_when_its_pause_is_over() {
    let customer = Customer::answering(&[500, 200]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    let schedule = Schedule(vec![Duration::from_millis(1200)]);
    let settings = Settings { schedule, ..Settings::default() };
    let stop = CancellationToken::new();

    let running = tokio::spawn(setting.dispatcher_with(settings).run(Arc::new(Notify::new()), stop.clone()));

    let received = customer.has_received(2).await;
    assert!(received[1].at - received[0].at >= Duration::from_millis(1200));
    stop.cancel();
    timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
}
