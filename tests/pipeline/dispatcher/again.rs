//! What a person has tried again, or what enabling makes up for, gives way to what is new, however much it is.

use std::sync::Arc;

use database::{
    deliveries::{self, Wanted},
    due, endpoints,
};
use diesel_async::SimpleAsyncConnection;
use dispatcher::Settings;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    customer::Customer,
    setting::{Setting, begin, body, dispatch_all},
};

/// What an endpoint may have on the way at once is far less than that; what retries may have of it is half.
const MANY: usize = 300;
const RETRIES_AT_ONCE: usize = 32;

/// An endpoint, `bot`, that is owed many deliveries and answers none of them, but whatever else it is sent; and `other`.
async fn owed_many() -> (Setting, Customer, Customer) {
    let (slow, prompt) = (Customer::holding("bot-key-").await, Customer::content().await);
    let setting = Setting::with_endpoint(&slow.url).await;
    setting.add_endpoint("other", &prompt.url).await;
    setting.owe_many("bot", MANY).await;
    (setting, slow, prompt)
}

/// Gives all up that is owed, and has it tried again on a person's word.
async fn retry_all(setting: &Setting) {
    setting
        .execute("UPDATE deliveries SET state = 'abandoned', finished_at = now(), attempts = 10; DELETE FROM due")
        .await;
    let connection = setting.database.connection().await.unwrap();
    let rows = deliveries::find(&connection, &Wanted::default()).await.unwrap();
    let again = deliveries::make_due(&connection, &rows, &["abandoned"]).await.unwrap();
    assert_eq!((again.made_due.due, again.rows.len()), (MANY as i64, MANY));
}

/// Enables `bot`, as a person does.
async fn enable(setting: &Setting) {
    due::catch_up(&setting.database.connection().await.unwrap(), &"bot".parse().unwrap()).await.unwrap();
    let mut enabling = begin(&setting.database).await;
    assert!(endpoints::enable(&enabling, &"bot".parse().unwrap()).await.unwrap());
    enabling.batch_execute("COMMIT").await.unwrap();
}

/// Dispatches until `bot` has as many requests as it may have of what is owed again; then commits an event for either endpoint,
/// which must be sent before the rest.
async fn what_is_new_is_not_held_up(setting: &Setting, slow: &Customer, prompt: &Customer) {
    let wake = Arc::new(Notify::new());
    let settings = Settings { deadline: std::time::Duration::from_secs(3600), ..Settings::default() };
    let running = setting.dispatcher_with(settings).run(wake.clone(), CancellationToken::new());
    let _running = AbortOnDropHandle::new(tokio::spawn(running));
    slow.has_received(RETRIES_AT_ONCE).await;

    setting.owe("bot", "new").await;
    setting.owe("other", "new").await;
    wake.notify_one();

    let (received, _) = (slow.has_received(RETRIES_AT_ONCE + 1).await, prompt.has_received(1).await);
    assert_eq!(received.len(), RETRIES_AT_ONCE + 1);
    assert_eq!(received[RETRIES_AT_ONCE].body, body("bot-new"));
    while setting.number("SELECT count(*) FROM deliveries WHERE state = 'delivered'").await < 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_is_delivered_before_what_a_person_has_tried_again() {
    let (setting, slow, prompt) = owed_many().await;

    retry_all(&setting).await;

    what_is_new_is_not_held_up(&setting, &slow, &prompt).await;
}

/// Half of it was never tried: it is days old all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_is_delivered_before_what_was_held_until_its_endpoint_was_enabled() {
    let (setting, slow, prompt) = owed_many().await;
    let half = "ctid IN (SELECT ctid FROM due LIMIT 150)";
    setting
        .execute(&format!(
            "UPDATE endpoints SET enabled = false WHERE id = 'bot'; \
             UPDATE due SET due_at = now() - interval '2 days'; \
             UPDATE due SET attempts = 3, due_at = now() + interval '1 hour' WHERE {half}"
        ))
        .await;

    enable(&setting).await;

    what_is_new_is_not_held_up(&setting, &slow, &prompt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_delivery_that_was_never_tried_stays_a_first_attempt_whoever_asks_for_it() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    let (tried, new) = (setting.owe("bot", "tried").await, setting.owe("bot", "new").await);
    setting.execute(&format!("UPDATE due SET attempts = 2 WHERE event_id = '{tried}'")).await;
    let connection = setting.database.connection().await.unwrap();
    let rows = deliveries::find(&connection, &Wanted::default()).await.unwrap();

    deliveries::make_due(&connection, &rows, &["pending"]).await.unwrap();

    let mut leased = setting.lease().await;
    leased.sort_by_key(|leased| leased.event_id);
    let leased: Vec<_> = leased.iter().map(|it| (it.event_id, it.attempts, it.is_retry())).collect();
    assert_eq!(leased, [(tried, 0, true), (new, 0, false)]);
}

/// It begins anew: were its first failure the second of a dead lane, such an endpoint would never be found to fail.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_with_one_lane_that_fails_still_when_it_is_enabled_is_failing() {
    let customer = Customer::answering(&[500]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let mut owing = begin(&setting.database).await;
    setting.owe_in_lane(&owing, "bot", Some("anna"), &["1"]).await;
    owing.batch_execute("COMMIT").await.unwrap();
    setting.execute("UPDATE endpoints SET enabled = false; UPDATE due SET attempts = 4").await;

    enable(&setting).await;
    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!(setting.number("SELECT failures::bigint FROM gates").await, 1);
}
