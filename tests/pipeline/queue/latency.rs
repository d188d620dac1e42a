//! How prompt an idle worker is, and how fast a busy one.
//! `cargo test -p tests --release --test queue -- --ignored --nocapture --test-threads 1 how_`

use std::time::{Duration, Instant};

use queue::{ConsumerSettings, Held, consume};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::support::{Consumer, connection, enqueue, inbound, job, run};

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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: it prints, and promises nothing"]
async fn how_fast_a_worker_is_that_settles_in_groups() {
    const JOBS: usize = 50_000;
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    let enqueuing = Instant::now();
    enqueue(&inbound, JOBS).await;
    println!("enqueued in groups of 500: {:.0} jobs/s", JOBS as f64 / enqueuing.elapsed().as_secs_f64());

    let (tell, mut done) = mpsc::channel::<(Held, oneshot::Sender<()>)>(1000);
    let handle = move |held: Held| {
        let tell = tell.clone();
        async move {
            let (settled, is_settled) = oneshot::channel();
            let _ = tell.send((held, settled)).await;
            let _ = is_settled.await;
        }
    };
    let (stop, (_pause, is_paused)) = (CancellationToken::new(), watch::channel(false));
    let consuming = Instant::now();
    let task = tokio::spawn(consume(inbound.clone(), ConsumerSettings::default(), is_paused, stop.clone(), handle));
    let (mut settled, mut group) = (0, Vec::new());
    while settled < JOBS {
        settled += done.recv_many(&mut group, 500).await;
        let ids: Vec<_> = group.iter().map(|(held, _)| held.id.clone()).collect();
        inbound.settle(&ids).await.unwrap();
        group.drain(..).for_each(|(_, settled)| settled.send(()).unwrap());
    }
    println!("fetched and settled: {:.0} jobs/s", JOBS as f64 / consuming.elapsed().as_secs_f64());
    stop.cancel();
    task.await.unwrap();
}
