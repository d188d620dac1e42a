//! The stage put together.

use std::sync::Arc;

use database::Database;
use queue::{ClaimSettings, Claims, ConsumerSettings, Held, Inbound, Redis, Wake};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    batcher::Batcher, book::Book, counters::Counters, desk::Desk, group::Bench, pause::Pause, pieces::Limits,
    sources::Sources, turns::Turns, unpack::unpack,
};

/// How a worker works. The defaults are for a fleet of processes with a few cores each.
#[derive(Clone)]
pub struct Settings {
    /// Items in one transaction, at most. Limits of the gain: beyond a few hundred only latency grows.
    pub group_items: usize,
    /// Bytes of raw events in one transaction, at most.
    pub group_bytes: usize,
    /// Transactions at a time. While one is written another claims; those of one source wait for each other's COMMIT.
    pub lanes: usize,
    /// How the queue is read.
    pub consumer: ConsumerSettings,
    /// How keys are claimed.
    pub claims: ClaimSettings,
    /// Where what is owed goes, if it is sent from this process; else it is left to whoever leases it.
    pub desk: Option<Arc<dyn Desk>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            group_items: 500,
            group_bytes: 8 << 20,
            lanes: 2,
            consumer: ConsumerSettings::default(),
            claims: ClaimSettings::default(),
            desk: None,
        }
    }
}

/// Takes jobs from the inbound queue and commits what is in them.
pub struct Worker {
    bench: Arc<Bench>,
    sources: Sources,
    turns: Turns,
    settings: Settings,
}

impl Worker {
    /// A worker over these stores. `wake` is notified when something is due in Postgres; other processes hear of it
    /// through Redis.
    pub fn new(redis: &Redis, database: Database, sources: Sources, wake: Arc<Notify>, settings: Settings) -> Self {
        let bench = Bench {
            inbound: Inbound::new(redis),
            claims: Claims::new(redis, settings.claims),
            lease: settings.claims.lease,
            pause: Pause::new(database.clone()),
            database,
            wake,
            wake_fleet: Wake::new(redis),
            counters: Arc::default(),
            limits: Limits { items: settings.group_items, bytes: settings.group_bytes },
            desk: settings.desk.clone(),
            book: Book::default(),
        };
        Self { bench: Arc::new(bench), sources, turns: Turns::default(), settings }
    }

    /// What it has done since it started.
    pub fn counters(&self) -> Arc<Counters> {
        self.bench.counters.clone()
    }

    /// One step: works these jobs as one group, to their end.
    pub async fn work(&self, held: Vec<Held>) {
        let mut works = Vec::with_capacity(held.len());
        for held in held {
            works.push(self.open(held).await);
        }
        self.bench.work(works).await;
    }

    async fn open(&self, held: Held) -> crate::unpack::Work {
        let work = unpack(held, &self.sources, 2 * self.bench.lease).await;
        self.bench.counters.jobs.add(1);
        self.bench.counters.raw_events.add(work.raw_events.len());
        work
    }

    async fn run_one(&self, held: Held, batcher: &Batcher) {
        if let Some(turn) = self.turns.wait(&self.bench.inbound, &held).await {
            let work = self.open(held).await;
            batcher.submit(work, turn).await;
        }
    }

    /// Works until stopped; then finishes what it holds.
    pub async fn run(self, stop: CancellationToken) {
        let waiting = self.settings.consumer.concurrency;
        let (batcher, batching) = Batcher::start(self.bench.clone(), self.settings.lanes, waiting);
        let (inbound, pause) = (self.bench.inbound.clone(), self.bench.pause.watch());
        let settings = self.settings.consumer.clone();
        let worker = Arc::new(self);
        let handle = move |held: Held| {
            let (worker, batcher) = (worker.clone(), batcher.clone());
            async move { worker.run_one(held, &batcher).await }
        };
        queue::consume(inbound, settings, pause, stop, handle).await;
        if let Err(error) = batching.await {
            tracing::error!(error = &error as &dyn std::error::Error, "the batcher did not end by itself");
        }
    }
}
