//! Consumers that tell what they are handed, and hold it until they are let.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::DateTime;
use queue::{ConsumerSettings, Held, Inbound, Redis, consume};
use redis::aio::MultiplexedConnection;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use vocabulary::{Job, RawEvent};

/// Longer than anything here takes.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) fn inbound(redis: &tests::TestRedis) -> Inbound {
    Inbound::new(&Redis::new(&redis.url, &redis.prefix).unwrap())
}

pub(crate) async fn connection(url: &str) -> MultiplexedConnection {
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// Runs one command, words separated by spaces.
pub(crate) async fn run<T: redis::FromRedisValue>(connection: &mut MultiplexedConnection, command: &str) -> T {
    let mut words = command.split(' ');
    redis::cmd(words.next().unwrap()).arg(words.collect::<Vec<_>>()).query_async(connection).await.unwrap()
}

pub(crate) fn raw_event(body: &str) -> RawEvent {
    RawEvent {
        source_id: "wa".parse().unwrap(),
        received_at: DateTime::from_timestamp(1_771_000_000, 0).unwrap(),
        headers: Vec::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

pub(crate) fn job(body: impl ToString) -> Job {
    Job::of([raw_event(&body.to_string())])
}

/// Enqueues so many jobs, of one raw event each.
pub(crate) async fn enqueue(inbound: &Inbound, jobs: usize) {
    for first in (0..jobs).step_by(500) {
        let chunk: Vec<Job> = (first..jobs.min(first + 500)).map(job).collect();
        inbound.enqueue(&chunk).await.unwrap();
    }
}

/// One that hears of its jobs or does not get them: it polls once an hour.
pub(crate) fn polls_seldom() -> ConsumerSettings {
    ConsumerSettings { poll_floor: Duration::from_secs(3600), ..ConsumerSettings::default() }
}

/// Waits for what nobody tells of.
pub(crate) async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, wait).await.expect("it never came true");
}

/// A consumer that reports every job it is handed, and settles it once it has a permit.
pub(crate) struct Consumer {
    pub(crate) pause: watch::Sender<bool>,
    pub(crate) stop: CancellationToken,
    permits: Arc<Semaphore>,
    seen: mpsc::UnboundedReceiver<Held>,
    task: JoinHandle<()>,
}

impl Consumer {
    /// Settles at once.
    pub(crate) fn start(inbound: &Inbound, settings: ConsumerSettings) -> Self {
        let consumer = Self::start_holding(inbound, settings);
        consumer.let_go();
        consumer
    }

    /// Holds what it is handed.
    pub(crate) fn start_holding(inbound: &Inbound, settings: ConsumerSettings) -> Self {
        Self::start_paused(inbound, settings, false)
    }

    pub(crate) fn start_paused(inbound: &Inbound, settings: ConsumerSettings, paused: bool) -> Self {
        let (pause, is_paused) = watch::channel(paused);
        let (tell, seen) = mpsc::unbounded_channel();
        let (stop, permits) = (CancellationToken::new(), Arc::new(Semaphore::new(0)));
        let (settling, gate) = (inbound.clone(), permits.clone());
        let handle = move |held: Held| {
            let (inbound, gate, tell) = (settling.clone(), gate.clone(), tell.clone());
            async move {
                let id = held.id.clone();
                let _ = tell.send(held);
                gate.acquire().await.unwrap().forget();
                let _ = inbound.settle(&[id]).await;
            }
        };
        let task = tokio::spawn(consume(inbound.clone(), settings, is_paused, stop.clone(), handle));
        Self { pause, stop, permits, seen, task }
    }

    /// From now on everything is settled.
    pub(crate) fn let_go(&self) {
        self.permits.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    pub(crate) async fn next(&mut self) -> Held {
        timeout(SOON, self.seen.recv()).await.expect("a job in time").expect("a consumer that lives")
    }

    /// The names of the next so many jobs.
    pub(crate) async fn names(&mut self, jobs: usize) -> HashSet<String> {
        let mut names = HashSet::new();
        while names.len() < jobs {
            names.insert(self.next().await.id.job().into_owned());
        }
        names
    }

    /// What arrives within a time in which nothing should.
    pub(crate) async fn is_idle_for(&mut self, time: Duration) -> bool {
        timeout(time, self.seen.recv()).await.is_err()
    }

    /// Stops it in order.
    pub(crate) async fn stop(self) -> Vec<Held> {
        let Self { stop, mut seen, task, .. } = self;
        stop.cancel();
        timeout(SOON, task).await.expect("a stop that ends").unwrap();
        std::iter::from_fn(|| seen.try_recv().ok()).collect()
    }

    /// Ends it as a kill would: no farewell.
    pub(crate) async fn die(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// One slot, and one job more in memory.
pub(crate) fn narrow() -> ConsumerSettings {
    ConsumerSettings { concurrency: 1, ..ConsumerSettings::default() }
}

/// Dies, and is found dead, quickly.
pub(crate) fn short_lived() -> ConsumerSettings {
    ConsumerSettings { lease: Duration::from_millis(600), ..ConsumerSettings::default() }
}
