//! How long after COMMIT an idle dispatcher sends, and how fast a backlog is worked off. Measured, not asserted: run with
//! `--nocapture`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use diesel_async::SimpleAsyncConnection;
use dispatcher::Settings;
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    customer::Customer,
    setting::{Setting, begin},
};

const ROUNDS: usize = 100;
const BACKLOG: usize = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_dispatcher_sends_soon_after_commit() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let running = tokio::spawn(setting.dispatcher().run(wake.clone(), stop.clone()));
    let mut latencies = Vec::new();

    for round in 0..ROUNDS {
        let mut transaction = begin(&setting.database).await;
        setting.owe_in(&transaction, "bot", &[&round.to_string()]).await;
        let committed = Instant::now();
        transaction.batch_execute("COMMIT").await.unwrap();
        wake.notify_one();
        let received = customer.has_received(round + 1).await;
        latencies.push(received[round].at.saturating_duration_since(committed));
    }

    stop.cancel();
    timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
    latencies.sort();
    println!("COMMIT to POST, idle: p50 {:?}, p99 {:?}", latencies[ROUNDS / 2], latencies[ROUNDS * 99 / 100]);
    assert_eq!(customer.received().len(), ROUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_for_several_customers_is_worked_off_and_each_delivery_sent_once() {
    let customer = Customer::content().await;
    let setting = Setting::new().await;
    for endpoint in ["a", "b", "c", "d"] {
        setting.add_endpoint(endpoint, &customer.url).await;
        setting.owe_many(endpoint, BACKLOG).await;
    }
    let stop = CancellationToken::new();
    let never_polls = Settings { poll: Duration::from_secs(3600), ..Settings::default() };
    let started = Instant::now();

    let running = tokio::spawn(setting.dispatcher_with(never_polls).run(Arc::new(Notify::new()), stop.clone()));
    customer.has_received(4 * BACKLOG).await;

    let rate = (4 * BACKLOG) as f64 / started.elapsed().as_secs_f64();
    println!("a backlog of {}: {rate:.0} deliveries/s in this build", 4 * BACKLOG);
    stop.cancel();
    timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
    assert_eq!(customer.received().len(), 4 * BACKLOG);
    let once = "SELECT count(*) FROM deliveries WHERE state = 'delivered' AND attempts = 1";
    assert_eq!(setting.number(once).await, 4 * BACKLOG as i64);
}
