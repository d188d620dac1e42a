//! How long after COMMIT an idle dispatcher sends. Measured, not asserted: run with `--nocapture`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use diesel_async::SimpleAsyncConnection;
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    customer::Customer,
    setting::{Setting, begin},
};

const ROUNDS: usize = 100;

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
