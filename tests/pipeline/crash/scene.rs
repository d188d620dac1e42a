//! Stores, a customer, and processes between them; and what must be true of all that in the end.

use std::collections::HashMap;

use latchhook::kill_points;
use tests::{Pipeline, Process, a_text, raw_event, until};
use vocabulary::Job;

use crate::customer::{Customer, Received};

/// Short enough that who died is found dead within a second or two.
const HASTE: [&str; 5] = [
    "--worker-lease=1s",
    "--claim-lease=2s",
    "--request-deadline=2s",
    "--record-within=1s",
    "--retry-after=100ms,100ms,100ms,100ms,100ms",
];

/// How many transactions wait for the one that asks. `pg_stat_activity` would show it the same picture to its end.
pub(crate) const WAITING: &str =
    "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))";

/// A pipeline of which only the stores are in this process, and its customer.
pub(crate) struct Scene {
    pub(crate) pipeline: Pipeline,
    pub(crate) customer: Customer,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let (pipeline, customer) = (Pipeline::new().await, Customer::content().await);
        pipeline.execute(&format!("UPDATE endpoints SET url = '{}'", customer.url)).await;
        Self { pipeline, customer }
    }

    pub(crate) async fn start(&self, roles: &str) -> Process {
        Process::start(&self.pipeline, roles, None, &HASTE).await
    }

    /// Starts a process that will kill itself there.
    pub(crate) async fn start_armed(&self, roles: &str, kill_at: &str) -> Process {
        Process::start(&self.pipeline, roles, Some((kill_points::VARIABLE, kill_at)), &HASTE).await
    }

    /// Starts a process in which whatever comes there panics.
    pub(crate) async fn start_panicking(&self, roles: &str, panic_at: &str) -> Process {
        Process::start(&self.pipeline, roles, Some((kill_points::PANIC_VARIABLE, panic_at)), &HASTE).await
    }

    /// Enqueues each of these as a raw event with a job of its own.
    pub(crate) async fn enqueue(&self, source: &str, bodies: impl IntoIterator<Item = String>) {
        let jobs: Vec<_> = bodies.into_iter().map(|body| Job::of([raw_event(source, body)])).collect();
        self.pipeline.inbound.enqueue(&jobs).await.unwrap();
    }

    /// Waits until nothing is left in the queue, and nothing is owed.
    pub(crate) async fn is_quiet(&self) {
        until("the queue is empty", async || self.queue_is_empty().await).await;
        let owed = "SELECT count(*) FROM deliveries WHERE state = 'pending'";
        until("everything is told", async || self.pipeline.number(owed).await == 0).await;
    }

    pub(crate) async fn queue_is_empty(&self) -> bool {
        self.pipeline.inbound.depth().await.unwrap().all() == 0
    }

    /// Nothing is lost and nothing is doubled: each key stands in the ledger once, and every promise holds that can be
    /// checked from the stores.
    pub(crate) async fn recorded_once(&self, keys: impl IntoIterator<Item = String>) {
        let (mut found, mut keys) = (self.pipeline.keys().await, Vec::from_iter(keys));
        found.sort();
        keys.sort();
        assert_eq!(found, keys);
        assert_eq!(self.pipeline.number("SELECT count(*) FROM receipts WHERE ended_at IS NULL").await, 0);
        assert!(self.queue_is_empty().await);
        self.latchhook("audit").await;
    }

    /// The customer has heard of every event, under one id and with the same bytes each time; gives how often of each.
    pub(crate) async fn told(&self) -> Vec<usize> {
        let not_told = "SELECT count(*) FROM deliveries WHERE state <> 'delivered'";
        assert_eq!(self.pipeline.number(not_told).await, 0);
        let owed = self.pipeline.number("SELECT sum(deliveries_owed)::bigint FROM events").await;
        let received = self.customer.received();
        let mut by_id: HashMap<&str, Vec<&Received>> = HashMap::new();
        for request in &received {
            by_id.entry(request.id()).or_default().push(request);
        }
        assert!(by_id.values().all(|told| told.iter().all(|request| request.body == told[0].body)));
        assert_eq!(by_id.len(), usize::try_from(owed).unwrap());
        by_id.values().map(Vec::len).collect()
    }

    /// Likewise, and of each once: nobody died who was telling it.
    pub(crate) async fn told_once(&self) {
        let told = self.told().await;
        assert!(told.iter().all(|times| *times == 1), "{told:?}");
    }

    /// Runs a command over the same stores, which must succeed; gives what it prints.
    pub(crate) async fn latchhook(&self, line: &str) -> String {
        let stores = [
            ("database-url", &self.pipeline.test_database.url),
            ("redis-url", &self.pipeline.test_redis.url),
            ("prefix", &self.pipeline.test_redis.prefix),
        ];
        let stores = stores.map(|(name, value)| format!("--{name}={value}"));
        let words = ["latchhook"].into_iter().chain(line.split(' ')).map(str::to_owned).chain(stores);
        let mut out = Vec::new();
        let ended = latchhook::cli::run(words, &mut out).await;
        let out = String::from_utf8(out).unwrap();
        assert!(ended.is_ok(), "latchhook {line}: {}\n{out}", ended.unwrap_err());
        out
    }
}

/// Requests with one message each, and their keys: `wamid.PREFIX-0` and so on.
pub(crate) fn texts(prefix: &str, count: usize) -> (Vec<String>, Vec<String>) {
    let keys: Vec<_> = (0..count).map(|number| format!("wamid.{prefix}-{number}")).collect();
    (keys.iter().map(|key| a_text(key, "hello")).collect(), keys)
}
