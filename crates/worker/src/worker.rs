//! The stage put together.

use std::{sync::Arc, time::Duration};

use database::Database;
use queue::{ClaimSettings, Claims, ConsumerSettings, Held, Inbound, Redis, Wake};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    batcher::Batcher, book::Book, counters::Counters, desk::Desk, fill::Fill, group::Bench, handler::Handler,
    handling::Handling, pause::Pause, pieces::Limits, sources::Sources, trust::Trust, turns::Turns, unpack::unpack,
};

/// How a worker works. The defaults are for a fleet of processes with a few cores each.
#[derive(Clone)]
pub struct Settings {
    /// Items in one group, at most: they are claimed together, and so are told to be new or duplicates.
    pub group_items: usize,
    /// Items in one transaction, at most, beside those whose claims say that they are duplicates. Limits of the gain: beyond
    /// a few hundred only latency grows.
    pub transaction_items: usize,
    /// Bytes of raw events in one group, at most.
    pub group_bytes: usize,
    /// Transactions at a time. While one is written another claims; those of one source wait for each other's COMMIT.
    pub lanes: usize,
    /// How the queue is read.
    pub consumer: ConsumerSettings,
    /// How keys are claimed.
    pub claims: ClaimSettings,
    /// Where what is owed goes, if it is sent from this process; else it is left to whoever leases it.
    pub desk: Option<Arc<dyn Desk>>,
    /// An app's own step, inside the transaction.
    pub handler: Option<Arc<dyn Handler>>,
    /// How long the handler may take for one event, at most 1.5 s: who waits for the event's source gives up after 2 s.
    pub handler_deadline: Duration,
    /// How long the handler may take in one transaction, all events together, at most as long. What it does not get to by
    /// then is left to the next transaction.
    pub handler_budget: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            group_items: 2000,
            transaction_items: 500,
            group_bytes: 8 << 20,
            lanes: 2,
            consumer: ConsumerSettings::default(),
            claims: ClaimSettings::default(),
            desk: None,
            handler: None,
            handler_deadline: Duration::from_secs(1),
            handler_budget: Duration::from_millis(500),
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

/// A worker in the making.
pub struct Builder {
    redis: Redis,
    database: Database,
    sources: Sources,
    wake: Arc<Notify>,
    settings: Settings,
    handler: Option<Arc<dyn Handler>>,
}

impl Builder {
    /// Notified when something is due in Postgres; other processes hear of it through Redis.
    pub fn wake(self, wake: Arc<Notify>) -> Self {
        Self { wake, ..self }
    }

    /// How it works.
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// A step of one's own, inside the transaction of each new event.
    pub fn handler(self, handler: impl Handler) -> Self {
        Self { handler: Some(Arc::new(handler)), ..self }
    }

    /// The worker.
    pub fn build(self) -> Worker {
        let Self { redis, database, sources, wake, mut settings, handler } = self;
        settings.handler = handler.or(settings.handler);
        let limits =
            Limits { items: settings.group_items, new: settings.transaction_items, bytes: settings.group_bytes };
        let bench = Bench {
            inbound: Inbound::new(&redis),
            claims: Claims::new(&redis, settings.claims),
            lease: settings.claims.lease,
            pause: Pause::new(database.clone()),
            database,
            wake,
            wake_fleet: Wake::new(&redis),
            counters: Arc::default(),
            limits,
            fill: Fill::new(limits),
            desk: settings.desk.clone(),
            book: Book::default(),
            trust: Trust::default(),
            handling: Handling::of(&settings),
        };
        Worker { bench: Arc::new(bench), sources, turns: Turns::default(), settings }
    }
}

impl Worker {
    /// A worker over these stores.
    pub fn builder(redis: &Redis, database: Database, sources: Sources) -> Builder {
        let (redis, wake) = (redis.clone(), Arc::default());
        Builder { redis, database, sources, wake, settings: Settings::default(), handler: None }
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
