//! What becomes of deliveries when a dispatcher dies, is stopped, or cannot reach Postgres.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use database::Database;
use dispatcher::{Client, Dispatcher, Guard, Settings};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_postgres::NoTls;
use tokio_util::sync::CancellationToken;
use url::Url;
use vocabulary::EndpointId;

use crate::{
    customer::Customer,
    setting::{Setting, dispatch_all},
};

/// Connections that wait for a lock: the recorder's. Not asked of `pg_stat_activity`, which shows the same picture until the
/// end of the transaction that asks.
const WAITING: &str = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database \
                       WHERE d.datname = current_database() AND NOT granted";
const CUT_OFF: &str = "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database \
                       WHERE d.datname = current_database() AND NOT granted";

async fn until(setting: &Setting, query: &str, value: i64) {
    let reached = async {
        while setting.number(query).await != value {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), reached).await.expect(query);
}

/// Nothing can be recorded until COMMIT.
async fn keep_attempts_locked(setting: &Setting) {
    setting.execute("BEGIN; LOCK TABLE attempts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dispatcher_leased_before_it_died_is_sent_by_another_when_the_lease_ends() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    let dead = setting.lease().await;
    let mut other = setting.dispatcher();

    let while_leased = dispatch_all(&mut other).await;
    setting.leases_end().await;
    let afterwards = dispatch_all(&mut other).await;

    assert_eq!((while_leased, afterwards), (0, 1));
    assert_eq!(customer.received()[0].id(), dead[0].webhook_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_died_with_its_dispatcher_is_sent_again_under_the_same_id() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    keep_attempts_locked(&setting).await;
    let doomed = tokio::runtime::Runtime::new().unwrap();
    let (url, master) = (setting.test_database.url.clone(), setting.master.clone());
    doomed.spawn(async move {
        let client = Client::new(Guard::new("127.0.0.0/8".parse().unwrap()));
        let mut dispatcher = Dispatcher::new(Database::new(&url, 2).unwrap(), master, Settings::default(), client);
        dispatch_all(&mut dispatcher).await;
    });
    until(&setting, WAITING, 1).await;

    doomed.shutdown_background();
    setting.execute(CUT_OFF).await;
    setting.execute("COMMIT").await;
    setting.leases_end().await;
    dispatch_all(&mut setting.dispatcher()).await;

    let received = customer.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].id(), received[1].id());
    assert_eq!(received[0].body, received[1].body);
    assert_eq!(setting.delivery().await, ("delivered".to_owned(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_postgres_does_not_take_at_first_is_kept_and_recorded_once() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    keep_attempts_locked(&setting).await;
    let mut dispatcher = setting.dispatcher();
    dispatcher.dispatch_due().await.unwrap();
    until(&setting, WAITING, 1).await;

    setting.execute(CUT_OFF).await;
    until(&setting, WAITING, 0).await;
    setting.execute("COMMIT").await;
    dispatcher.settled().await;

    assert_eq!(customer.received().len(), 1);
    assert_eq!(setting.delivery().await, ("delivered".to_owned(), 1));
    assert_eq!(dispatcher.counters().snapshot().recorded, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_when_it_is_stopped_is_finished_and_recorded_and_nothing_new_begun() {
    let gate = Arc::new(Notify::new());
    let customer = Customer::waiting_for(&gate).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let running = tokio::spawn(setting.dispatcher().run(wake.clone(), stop.clone()));
    customer.has_received(1).await;

    stop.cancel();
    setting.owe("bot", "2").await;
    wake.notify_one();
    gate.notify_one();
    timeout(Duration::from_secs(5), running).await.unwrap().unwrap();

    assert_eq!(customer.received().len(), 1);
    assert_eq!(setting.number("SELECT count(*) FROM deliveries WHERE state = 'delivered'").await, 1);
    assert_eq!(setting.number("SELECT count(*) FROM due WHERE lease IS NULL AND due_at <= now()").await, 1);
}

/// As after a SIGSTOP: somebody else may be sending it by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_lease_may_end_before_the_answer_is_not_sent() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    let mut dispatcher = setting.dispatcher_with(Settings { slack: Duration::ZERO, ..Settings::default() });

    dispatcher.dispatch_due().await.unwrap();
    dispatcher.settled().await;

    assert!(customer.received().is_empty());
    let counters = dispatcher.counters().snapshot();
    assert_eq!((counters.late, counters.released), (1, 0));
    assert_eq!(setting.delivery().await, ("pending".to_owned(), 0));
}

/// That its customers are slow is no sign that this process is.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_waited_on_the_desk_for_as_long_as_it_may_is_given_back_and_counted_apart() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let mut dispatcher = setting.dispatcher();
    let (desk, bot): (_, EndpointId) = (dispatcher.desk(), "bot".parse().unwrap());
    setting.owe_many("bot", 3).await;
    let handed: Vec<_> =
        setting.lease().await.into_iter().map(|leased| leased.split().0.with(Bytes::from("{}"))).collect();
    assert!(handed.iter().all(|leased| desk.set_aside(&leased.target.account_id, &bot, leased.body.len())));

    let a_quarter_of_the_slack_ago = Instant::now() - Settings::default().slack / 4;
    desk.take(handed, a_quarter_of_the_slack_ago + desk.lease());
    until(&setting, "SELECT count(*) FROM due WHERE lease IS NULL AND due_at <= now()", 3).await;
    dispatch_all(&mut dispatcher).await;

    assert_eq!(customer.received().len(), 3);
    let counters = dispatcher.counters().snapshot();
    assert_eq!((counters.waited_too_long, counters.late, counters.released), (3, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_being_away_pauses_dispatching_and_loses_nothing() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    let stop = CancellationToken::new();
    let mut url = Url::parse(&setting.test_database.url).unwrap();
    let name = url.path().trim_start_matches('/').to_owned();
    url.set_path("postgres");
    let (elsewhere, connection) = tokio_postgres::connect(url.as_str(), NoTls).await.unwrap();
    tokio::spawn(connection);

    elsewhere.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await.unwrap();
    let hang_up = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'latchhook' \
                   AND datname = current_database()";
    setting.execute(hang_up).await;
    let running = tokio::spawn(setting.dispatcher().run(Arc::new(Notify::new()), stop.clone()));
    assert!(setting.dispatcher().dispatch_due().await.is_err());
    elsewhere.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await.unwrap();

    customer.has_received(1).await;
    stop.cancel();
    timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
    assert_eq!(setting.delivery().await, ("delivered".to_owned(), 1));
}
