//! Somebody who goes on enqueuing, whatever happens to the stores.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use producer::{Producer, ProducerSettings};
use queue::Redis;
use tests::{a_text, raw_event};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

/// Fifty a second, one a job.
const EVERY: Duration = Duration::from_millis(20);

/// Enqueues until told to stop, and hands in again what Redis has not taken, as providers do. Every tenth raw event repeats
/// the one before it.
pub(super) struct Enqueuing {
    taken: Arc<AtomicU64>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Enqueuing {
    pub(super) fn start(queue: &Redis) -> Self {
        let producer = Producer::new(queue, ProducerSettings::default());
        let (stop, taken) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let task = tokio::spawn(enqueue(producer, stop.clone(), taken.clone()));
        Self { taken, stop, task }
    }

    /// How many raw events Redis has taken so far, at least.
    pub(super) fn so_far(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// Stops; gives how many raw events Redis has taken, and how many events they are.
    pub(super) async fn stop(self) -> (u64, u64) {
        self.stop.cancel();
        self.task.await.unwrap();
        let raw_events = self.taken.load(Relaxed);
        (raw_events, raw_events - raw_events / 10)
    }
}

async fn enqueue(producer: Producer, stop: CancellationToken, taken: Arc<AtomicU64>) {
    let mut number = 0;
    while !stop.is_cancelled() {
        number += 1;
        let wamid = format!("wamid.{}", number - u64::from(number % 10 == 0));
        let raw_event = raw_event("wa", a_text(&wamid, "hello"));
        while producer.enqueue(&raw_event).await.is_err() {
            sleep(EVERY).await;
        }
        taken.store(number, Relaxed);
        sleep(EVERY).await;
    }
}
