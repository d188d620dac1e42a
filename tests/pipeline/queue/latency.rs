//! How prompt an idle worker is. `cargo test -p tests --test queue -- --ignored --nocapture how_prompt`

use std::time::{Duration, Instant};

use queue::ConsumerSettings;

use super::support::{Consumer, connection, inbound, job, run};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: it prints, and promises nothing"]
async fn how_prompt_an_idle_worker_is() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let mut consumer = Consumer::start(&inbound, ConsumerSettings::default());
    inbound.enqueue(&[job("warm")]).await.unwrap();
    consumer.next().await;

    let mut latencies = Vec::new();
    for n in 0..200 {
        // Out of step with every timer of ours.
        tokio::time::sleep(Duration::from_millis(17)).await;
        let enqueued_at = Instant::now();
        inbound.enqueue(&[job(n)]).await.unwrap();
        consumer.next().await;
        latencies.push(enqueued_at.elapsed());
    }
    latencies.sort();
    println!("enqueue to handler, idle: p50 {:?}, p99 {:?}", latencies[100], latencies[198]);

    let mut connection = connection(&redis.url).await;
    let () = run(&mut connection, "CONFIG RESETSTAT").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let stats: String = run(&mut connection, "INFO commandstats").await;
    let calls = stats.lines().find(|line| line.starts_with("cmdstat_evalsha")).unwrap_or("no scripts");
    println!("idle for 10 s: {calls}");
    consumer.stop().await;
}
