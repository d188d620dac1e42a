//! What stands between the fleet and an endpoint that fails: the same for all dispatchers, and gone as soon as it has done
//! its work.

use std::{sync::Arc, time::Duration};

use database::{
    due,
    gates::{self, Shown},
};
use diesel_async::SimpleAsyncConnection;
use dispatcher::notice::ENDPOINT_DISABLED;
use futures::future::join_all;
use tokio::sync::Barrier;
use vocabulary::Terms;

use crate::{
    customer::Customer,
    setting::{Setting, begin, dispatch_all},
};

/// An endpoint, `bot`, that has failed ten times in a row, and one more that is owed to it.
async fn with_open_circuit(customer: &Customer) -> Setting {
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe_many("bot", 10).await;
    dispatch_all(&mut setting.dispatcher()).await;
    setting.owe("bot", "waits").await;
    setting
}

async fn rest_is_over(setting: &Setting) {
    setting.execute("UPDATE gates SET rests_until = now(), asked_until = now()").await;
}

/// For how long `bot` rests, in seconds.
pub(crate) async fn rest(setting: &Setting) -> i64 {
    setting
        .number("SELECT ceil(extract(epoch FROM greatest(rests_until, asked_until) - now()))::bigint FROM gates")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_is_disabled_and_its_account_is_told() {
    let (gone, operator) = (Customer::answering(&[410]).await, Customer::content().await);
    let setting = Setting::with_endpoint(&gone.url).await;
    setting.add_endpoint_with("operator", &operator.url, &Terms::of(ENDPOINT_DISABLED.parse().unwrap())).await;
    setting.owe("bot", "1").await;

    dispatch_all(&mut setting.dispatcher()).await;

    let row = setting.rows("SELECT enabled, disabled_reason FROM endpoints WHERE id = 'bot'").await.remove(0);
    assert_eq!((row.get(0), row.get(1)), (false, Some("it answered 410: gone")));
    let told = operator.has_received(1).await.remove(0);
    let body: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
    assert!(told.is_signed_by(&setting.secret));
    assert_eq!((&body["type"], &body["data"]["endpoint"]["id"]), (&ENDPOINT_DISABLED.into(), &"bot".into()));
    assert_eq!(setting.number("SELECT count(*) FROM due WHERE endpoint_id = 'bot'").await, 1, "held, not dropped");
}

/// Moving house is when an old server says 410.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_has_moved_is_not_disabled_because_it_is_gone_where_it_was() {
    let gone = Customer::answering(&[410]).await;
    let setting = Setting::with_endpoint(&gone.url).await;
    setting.owe("bot", "1").await;
    let mut moving = begin(&setting.database).await;
    moving
        .batch_execute("UPDATE endpoints SET url = 'http://127.0.0.1:9/new', revision = nextval('revisions')")
        .await
        .unwrap();

    let mut dispatcher = setting.dispatcher();
    dispatcher.dispatch_due().await.unwrap();
    gone.has_received(1).await;
    while setting.number("SELECT count(*) FROM pg_locks WHERE NOT granted").await == 0 {
        tokio::task::yield_now().await;
    }
    moving.batch_execute("COMMIT").await.unwrap();
    dispatcher.settled().await;

    assert_eq!(setting.number("SELECT count(*) FROM endpoints WHERE enabled").await, 1);
}

/// In the ledger, with its receipt, numbered and owed as any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_an_event_that_the_audit_finds_nothing_wrong_with() {
    let (gone, operator) = (Customer::answering(&[410]).await, Customer::content().await);
    let setting = Setting::with_endpoint(&gone.url).await;
    setting.add_endpoint("gone-too", &gone.url).await;
    setting.add_endpoint("operator", &operator.url).await;
    setting.owe("bot", "1").await;
    let before = setting.breaches().await;

    dispatch_all(&mut setting.dispatcher()).await;
    setting.owe("gone-too", "2").await;
    dispatch_all(&mut setting.dispatcher()).await;

    operator.has_received(2).await;
    assert_eq!(setting.breaches().await, before);
    let rows = setting.rows("SELECT last FROM source_sequences WHERE source_id = 'latchhook:acme'").await;
    assert_eq!(rows[0].get::<_, i64>(0), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_for_an_endpoint_is_due_at_once_when_it_is_enabled() {
    let customer = Customer::answering(&[500, 410, 200]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "fails").await;
    dispatch_all(&mut setting.dispatcher()).await;
    setting.owe("bot", "gone").await;
    dispatch_all(&mut setting.dispatcher()).await;
    assert_eq!(setting.number("SELECT count(*) FROM due WHERE due_at > now()").await, 2);

    let connection = setting.database.connection().await.unwrap();
    let is_there = database::endpoints::enable(&connection, &"bot".parse().unwrap()).await.unwrap();
    dispatch_all(&mut setting.dispatcher()).await;

    assert!(is_there);
    assert_eq!(setting.number("SELECT count(*) FROM deliveries WHERE state = 'delivered'").await, 2);
}

/// A failure in January and one in February, with nothing sent in between, are no five days of failing.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_sent_nothing_for_weeks_has_not_failed_for_weeks() {
    let customer = Customer::answering(&[500]).await;
    let setting = with_open_circuit(&customer).await;
    let long_ago = "failing_since = now() - interval '30 days', failed_at = now() - interval";
    setting.execute(&format!("UPDATE gates SET {long_ago} '2 days 1 second'")).await;
    rest_is_over(&setting).await;

    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!(setting.number("SELECT count(*) FROM endpoints WHERE enabled").await, 1);
    assert_eq!(setting.number("SELECT count(*) FROM gates WHERE failing_since > now() - interval '1 minute'").await, 1);
    setting.execute(&format!("UPDATE gates SET {long_ago} '1 day 23 hours'")).await;
    rest_is_over(&setting).await;
    setting.pauses_are_over().await;
    dispatch_all(&mut setting.dispatcher()).await;
    assert_eq!(setting.number("SELECT count(*) FROM endpoints WHERE enabled").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_has_done_nothing_but_fail_for_five_days_is_disabled() {
    let customer = Customer::answering(&[500]).await;
    let setting = with_open_circuit(&customer).await;
    setting.execute("UPDATE gates SET failing_since = now() - interval '4 days 23 hours'").await;
    rest_is_over(&setting).await;
    dispatch_all(&mut setting.dispatcher()).await;
    assert_eq!(setting.number("SELECT count(*) FROM endpoints WHERE enabled").await, 1);

    setting.execute("UPDATE gates SET failing_since = now() - interval '5 days'").await;
    rest_is_over(&setting).await;
    setting.pauses_are_over().await;
    dispatch_all(&mut setting.dispatcher()).await;

    let row = setting.rows("SELECT enabled, disabled_reason FROM endpoints").await.remove(0);
    assert_eq!((row.get(0), row.get(1)), (false, Some("every attempt has failed for 120 hours")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_endpoint_is_left_alone_for_as_long_as_it_asks_and_no_other_is() {
    let (overloaded, prompt) = (Customer::answering_with(503, "retry-after", "120").await, Customer::content().await);
    let setting = Setting::with_endpoint(&overloaded.url).await;
    setting.add_endpoint("prompt", &prompt.url).await;
    setting.owe("bot", "1").await;
    dispatch_all(&mut setting.dispatcher()).await;

    setting.owe("bot", "2").await;
    setting.owe("prompt", "1").await;
    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!((overloaded.received().len(), prompt.received().len()), (1, 1));
    assert_eq!(rest(&setting).await, 120);
    rest_is_over(&setting).await;
    dispatch_all(&mut setting.dispatcher()).await;
    assert_eq!(overloaded.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_endpoint_is_left_alone_for_longer_than_an_hour_because_it_said_so_once() {
    let overloaded = Customer::answering_with(429, "retry-after", "86400").await;
    let setting = Setting::with_endpoint(&overloaded.url).await;
    setting.owe("bot", "1").await;

    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!(rest(&setting).await, 3600);
    let wait = setting.number("SELECT (extract(epoch FROM due_at - now()) / 3600)::bigint FROM due").await;
    assert!(wait >= 24, "the delivery that was refused comes when it was asked to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_opens_after_ten_failures_in_a_row_and_nothing_is_sent_while_it_rests() {
    let customer = Customer::answering(&[500]).await;
    let setting = with_open_circuit(&customer).await;

    let leased = dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!((leased, customer.received().len()), (0, 10));
    assert_eq!(rest(&setting).await, 5);
    assert_eq!(setting.number("SELECT attempts::bigint FROM due WHERE attempts = 0").await, 0, "no attempt is used up");
}

#[tokio::test(flavor = "multi_thread")]
async fn nine_failures_and_a_success_leave_the_circuit_closed_and_no_gate_behind() {
    let customer = Customer::answering(&[500, 500, 500, 500, 500, 500, 500, 500, 500, 200]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    for key in 0..10 {
        setting.owe("bot", &key.to_string()).await;
        dispatch_all(&mut setting.dispatcher()).await;
    }

    let gates = setting.number("SELECT count(*) FROM gates").await;

    assert_eq!((customer.received().len(), gates), (10, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_fleet_that_looks_at_the_same_instant_one_dispatcher_sends_one_probe() {
    let setting = Arc::new(with_open_circuit(&Customer::answering(&[500]).await).await);
    setting.owe_many("bot", 100).await;
    rest_is_over(&setting).await;
    let barrier = Arc::new(Barrier::new(8));
    let look = || {
        let (setting, barrier) = (setting.clone(), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            setting.lease().await.len()
        })
    };

    let leased = join_all((0..8).map(|_| look())).await;

    assert_eq!(leased.into_iter().map(Result::unwrap).sum::<usize>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_succeeds_closes_the_circuit_and_what_waited_is_sent() {
    let customer = Customer::answering(&[500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 200]).await;
    let setting = with_open_circuit(&customer).await;
    setting.owe_many("bot", 20).await;
    rest_is_over(&setting).await;
    let mut dispatcher = setting.dispatcher();

    let probe = dispatcher.dispatch_due().await.unwrap().leased;
    dispatcher.settled().await;
    let rest = dispatch_all(&mut dispatcher).await;

    assert_eq!((probe, rest), (1, 20));
    assert_eq!(setting.number("SELECT count(*) FROM gates").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_each_probe_that_fails_a_circuit_rests_twice_as_long_up_to_a_minute() {
    let setting = with_open_circuit(&Customer::answering(&[500]).await).await;
    let mut rests = Vec::new();

    for _ in 0..6 {
        rests.push(rest(&setting).await);
        rest_is_over(&setting).await;
        setting.pauses_are_over().await;
        assert_eq!(dispatch_all(&mut setting.dispatcher()).await, 1);
    }

    assert_eq!(rests, [5, 10, 20, 40, 60, 60]);
}

/// Its dispatcher died with it: the gate rests as long as the lease, no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_of_which_nothing_is_heard_is_followed_by_another() {
    let setting = with_open_circuit(&Customer::answering(&[500]).await).await;
    rest_is_over(&setting).await;
    assert_eq!(setting.lease().await.len(), 1);
    setting.owe("bot", "another").await;
    assert_eq!((setting.lease().await.len(), rest(&setting).await), (0, 60));

    rest_is_over(&setting).await;

    assert_eq!(setting.lease().await.len(), 1);
}

/// Whoever could not ask for its address would only try the same again.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_is_put_off_leaves_the_circuit_to_the_next_after_the_same_pause() {
    let setting = with_open_circuit(&Customer::answering(&[500]).await).await;
    rest_is_over(&setting).await;
    let probe = setting.lease().await;
    let connection = setting.database.connection().await.unwrap();

    due::release(&connection, &probe, Duration::from_secs(600)).await.unwrap();
    let (rests, leased) = (rest(&setting).await, setting.lease().await.len());
    setting.pauses_are_over().await;

    assert!(rests > 500 && leased == 0, "it rests for {rests} s, {leased} leased");
    assert_eq!(setting.lease().await.len(), 1);
}

/// The loop must not look in vain, nor sleep on: it wakes when there is something to lease again.
#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_is_told_when_an_endpoint_that_rests_or_is_limited_may_be_sent_to_again() {
    let setting = with_open_circuit(&Customer::answering(&[500]).await).await;
    let connection = setting.database.connection().await.unwrap();

    let rests = due::next_due(&connection).await.unwrap().unwrap();
    setting.execute("DELETE FROM gates; UPDATE endpoints SET max_per_second = 0.1").await;
    setting.execute("INSERT INTO gates (endpoint_id, tokens) VALUES ('bot', 0)").await;
    let limited = due::next_due(&connection).await.unwrap().unwrap();

    assert!((4..=5).contains(&rests.as_secs()), "{rests:?}");
    assert!((9..=10).contains(&limited.as_secs()), "{limited:?}");
}

/// What attempts have shown of `bot` as it is now.
pub(crate) async fn shown(setting: &Setting, failures: i32, succeeded: bool, rest: u64) -> Shown {
    let (endpoint_id, rest) = ("bot".parse().unwrap(), Duration::from_secs(rest));
    let revision = setting.number("SELECT revision FROM endpoints WHERE id = 'bot'").await;
    Shown { endpoint_id, revision, succeeded, failures, failed_again: 0, probed: false, rest }
}

async fn note(setting: &Setting, shown: Shown) {
    gates::note(&setting.database.connection().await.unwrap(), &[shown]).await.unwrap();
}

/// Requests that were under way when the circuit opened go on failing for as long as a deadline.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_before_a_circuit_opened_is_not_taken_for_its_probe() {
    let setting = with_open_circuit(&Customer::answering(&[500]).await).await;
    rest_is_over(&setting).await;
    assert_eq!(setting.lease().await.len(), 1);

    note(&setting, shown(&setting, 3, false, 0).await).await;

    assert_eq!(setting.number("SELECT openings::bigint FROM gates WHERE is_probed").await, 0);
    assert_eq!(rest(&setting).await, 60, "as long as the lease of the probe");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_note_the_first_failures_at_the_same_moment_neither_is_forgotten() {
    let setting = Arc::new(Setting::with_endpoint("http://127.0.0.1:9/").await);
    let mut first = begin(&setting.database).await;
    gates::note(&first, &[shown(&setting, 12, false, 600).await]).await.unwrap();

    let second = tokio::spawn({
        let setting = setting.clone();
        async move { note(&setting, shown(&setting, 1, false, 0).await).await }
    });
    while setting.number("SELECT count(*) FROM pg_locks WHERE NOT granted").await == 0 {
        tokio::task::yield_now().await;
    }
    first.batch_execute("COMMIT").await.unwrap();
    second.await.unwrap();

    let row =
        setting.rows("SELECT failures, is_open, asked_until > now() + interval '590 s' FROM gates").await.remove(0);
    assert_eq!((row.get(0), row.get(1), row.get(2)), (13, true, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_closes_the_circuit_and_does_not_shorten_the_pause_that_was_asked_for() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    note(&setting, shown(&setting, 12, false, 120).await).await;

    note(&setting, shown(&setting, 0, true, 0).await).await;

    let row =
        setting.rows("SELECT failures, is_open, asked_until > now() + interval '110 s' FROM gates").await.remove(0);
    assert_eq!((row.get(0), row.get(1), row.get(2)), (0, false, true));
}

/// With little traffic ten failures in a row may take weeks.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_seldom_gets_anything_is_disabled_after_five_days_of_failures_too() {
    let customer = Customer::answering(&[500]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    dispatch_all(&mut setting.dispatcher()).await;

    setting.execute("UPDATE gates SET failing_since = now() - interval '6 days'").await;
    setting.pauses_are_over().await;
    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!(setting.number("SELECT count(*) FROM endpoints WHERE NOT enabled").await, 1);
}

/// Nobody has asked it: what is wrong is what is kept here.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_damaged_uses_up_attempts_but_opens_no_circuit() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe_many("bot", 12).await;
    setting
        .execute("UPDATE endpoints SET secrets = secrets || set_byte(secrets[1], 20, 255 - get_byte(secrets[1], 20))")
        .await;
    dispatch_all(&mut setting.dispatcher()).await;
    assert_eq!(setting.number("SELECT count(*) FROM attempts WHERE outcome = 'secret'").await, 12);

    setting.execute("UPDATE endpoints SET secrets = secrets[1:1]").await;
    setting.pauses_are_over().await;
    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!(customer.received().len(), 12);
}
