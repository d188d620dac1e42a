//! What a person gives up: never what is at its customer's door, and whoever is known to have it has it.

use std::{sync::Arc, time::Duration};

use database::{
    Connection,
    attempts::Next,
    deliveries::{self, Abandoned, DeliveryRow, Wanted},
};
use diesel_async::SimpleAsyncConnection;
use tokio::sync::Notify;

use crate::{
    customer::Customer,
    leases::ended,
    setting::{Setting, begin, dispatch_all},
};

const REASON: &str = "their server is gone";

async fn pending(setting: &Setting) -> Vec<DeliveryRow> {
    let wanted = Wanted { states: vec!["pending".to_owned()], ..Wanted::default() };
    deliveries::find(&setting.database.connection().await.unwrap(), &wanted).await.unwrap()
}

/// Gives these up in the transaction that the connection is in.
async fn abandon(connection: &Connection, rows: &[DeliveryRow]) -> Vec<Abandoned> {
    deliveries::abandon(connection, rows, REASON).await.unwrap()
}

async fn reason(setting: &Setting) -> Option<String> {
    setting.rows("SELECT abandoned_reason FROM deliveries").await[0].get(0)
}

/// Returns once somebody waits for somebody else.
async fn somebody_waits(setting: &Setting) {
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while setting.number(waiting).await == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_sent_is_left_alone_and_ends_as_its_customer_says() {
    let gate = Arc::new(Notify::new());
    let customer = Customer::waiting_for(&gate).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    let mut dispatcher = setting.dispatcher();
    dispatcher.dispatch_due().await.unwrap();
    customer.has_received(1).await;

    let abandoned = abandon(&setting.database.connection().await.unwrap(), &pending(&setting).await).await;
    assert_eq!((abandoned, setting.delivery().await), (vec![], ("pending".to_owned(), 0)));
    gate.notify_one();
    dispatcher.settled().await;

    assert_eq!(setting.delivery().await, ("delivered".to_owned(), 1));
    assert_eq!(reason(&setting).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dispatcher_is_just_leasing_is_left_alone() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    setting.owe("bot", "1").await;
    let (rows, connection) = (pending(&setting).await, setting.database.connection().await.unwrap());
    setting.execute("BEGIN; UPDATE due SET lease = 7, due_at = now() + interval '1 minute'").await;

    let abandoning = tokio::spawn(async move { abandon(&connection, &rows).await });
    somebody_waits(&setting).await;
    setting.execute("COMMIT").await;

    assert_eq!(abandoning.await.unwrap(), []);
    assert_eq!(setting.number("SELECT count(*) FROM due WHERE lease = 7").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_is_just_giving_up_is_not_leased() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    setting.owe("bot", "1").await;
    let mut giving_up = begin(&setting.database).await;
    assert_eq!(abandon(&giving_up, &pending(&setting).await).await.len(), 1);

    let meanwhile = setting.lease().await.len();
    giving_up.batch_execute("COMMIT").await.unwrap();

    assert_eq!((meanwhile, setting.lease().await.len()), (0, 0));
    assert_eq!(setting.delivery().await, ("abandoned".to_owned(), 0));
    assert_eq!(reason(&setting).await.as_deref(), Some(REASON));
}

/// Its dispatcher died, or its customer has it and Postgres was not told yet: nobody knows, and the row says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_leased_and_never_recorded_is_given_up_with_the_doubt_and_a_late_success_counts() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    setting.owe("bot", "1").await;
    let sent = setting.lease().await.remove(0);
    setting.leases_end().await;

    let abandoned = abandon(&setting.database.connection().await.unwrap(), &pending(&setting).await).await;
    let (state, doubt) = (setting.delivery().await.0, reason(&setting).await.unwrap());
    setting.record(&[ended(&sent, Next::Delivered)]).await;

    assert!(abandoned.len() == 1 && abandoned[0].is_unrecorded);
    assert_eq!(doubt, format!("{REASON} (its last lease ended unrecorded: its customer may have it)"));
    assert_eq!((state.as_str(), setting.delivery().await), ("abandoned", ("delivered".to_owned(), 1)));
    assert_eq!(reason(&setting).await, Some(doubt), "that it was given up is not forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_comes_late_does_not_take_back_what_a_person_gave_up() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    setting.owe("bot", "1").await;
    let sent = setting.lease().await.remove(0);
    setting.leases_end().await;
    abandon(&setting.database.connection().await.unwrap(), &pending(&setting).await).await;

    setting.record(&[ended(&sent, Next::Retry { after: Duration::ZERO })]).await;

    assert_eq!(setting.delivery().await, ("abandoned".to_owned(), 1));
    assert_eq!(setting.number("SELECT count(*) FROM due").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_success_and_a_persons_word_at_the_same_moment_the_success_counts_whoever_is_first() {
    for success_is_first in [true, false] {
        let setting = Arc::new(Setting::with_endpoint("http://127.0.0.1:9/").await);
        setting.owe("bot", "1").await;
        let sent = setting.lease().await.remove(0);
        setting.leases_end().await;
        let rows = pending(&setting).await;
        let (mut first, second) = (begin(&setting.database).await, setting.database.connection().await.unwrap());
        let delivered = [ended(&sent, Next::Delivered)];

        let waiting = if success_is_first {
            database::attempts::record(&first, &delivered).await.unwrap();
            tokio::spawn(async move { abandon(&second, &rows).await.len() })
        } else {
            assert_eq!(abandon(&first, &rows).await.len(), 1);
            tokio::spawn(async move { database::attempts::record(&second, &delivered).await.unwrap().len() })
        };
        somebody_waits(&setting).await;
        first.batch_execute("COMMIT").await.unwrap();

        assert_eq!(waiting.await.unwrap(), 0);
        assert_eq!(setting.delivery().await, ("delivered".to_owned(), 1), "success first: {success_is_first}");
        assert_eq!(setting.number("SELECT count(*) FROM due").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_by_hand_makes_way_for_the_next_of_its_lane() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let mut owing = begin(&setting.database).await;
    let events = setting.owe_in_lane(&owing, "bot", Some("anna"), &["1", "2", "3"]).await;
    owing.batch_execute("COMMIT").await.unwrap();
    let rows = pending(&setting).await;
    let of = |event: usize| rows.iter().find(|row| row.event_id == events[event]).cloned().unwrap();

    let mut giving_up = begin(&setting.database).await;
    abandon(&giving_up, &[of(0), of(2)]).await;
    giving_up.batch_execute("COMMIT").await.unwrap();
    assert_eq!(setting.number("SELECT count(*) FROM due WHERE due_at <= now()").await, 1);
    dispatch_all(&mut setting.dispatcher()).await;

    let received = customer.received();
    assert_eq!(received.iter().map(|request| request.id()).collect::<Vec<_>>(), [of(1).webhook_id]);
    assert!(setting.breaches().await.iter().all(|check| !check.contains("lane") && !check.contains("due exactly")));
}
