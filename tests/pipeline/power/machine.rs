//! A machine that loses power: a Redis whose log can be cut, over and over from the same moment.

use std::{
    fs::{self, File},
    path::PathBuf,
    time::{Duration, Instant},
};

use latchhook::servers::RedisSettings;
use queue::{Inbound, Redis};
use tests::{PrivateRedis, TestRedis, raw_event};
use tokio::{task::JoinSet, time::timeout};
use vocabulary::{Incarnation, Job, Stamp};

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(30);

pub(crate) struct Machine {
    server: PrivateRedis,
    pub(crate) redis: TestRedis,
    log: PathBuf,
    /// The log as it was when the power went.
    whole: Vec<u8>,
}

impl Machine {
    pub(crate) fn start(settings: &RedisSettings) -> Self {
        let server = tests::private_redis_with(settings);
        let redis = TestRedis { url: server.url(), prefix: "p".into() };
        let log = server.log_file().unwrap();
        Self { server, redis, log, whole: Vec::new() }
    }

    /// A process that enqueues, and may die with the machine or not.
    pub(crate) fn producer(&self) -> Inbound {
        Inbound::new(&Redis::new(&self.redis.url, &self.redis.prefix).unwrap())
    }

    /// How many bytes the log has.
    pub(crate) fn written(&self) -> u64 {
        fs::metadata(&self.log).unwrap().len()
    }

    pub(crate) fn loses_power(&mut self) {
        self.server.kill();
        self.whole = fs::read(&self.log).unwrap();
    }

    /// Starts again, with so many bytes of the log that there was when the power went.
    pub(crate) fn comes_back_with(&mut self, bytes: u64) {
        self.server.kill();
        fs::write(&self.log, &self.whole).unwrap();
        File::options().write(true).open(&self.log).unwrap().set_len(bytes).unwrap();
        self.server.restart().unwrap();
    }

    /// Starts again with nothing.
    pub(crate) fn comes_back_empty(&mut self) {
        self.server.kill();
        fs::remove_dir_all(self.log.parent().unwrap()).unwrap();
        self.server.restart().unwrap();
    }
}

/// Eight that enqueue at once, so many jobs each; every stamp was acknowledged.
pub(crate) async fn enqueue_together(producer: &Inbound, each: usize) -> Vec<Stamp> {
    let mut producers = JoinSet::new();
    for _ in 0..8 {
        let producer = producer.clone();
        producers.spawn(async move {
            let mut stamps = Vec::new();
            for raw_events in (1..4).cycle().take(each) {
                stamps.extend(producer.enqueue(&[job(raw_events)]).await.unwrap());
            }
            stamps
        });
    }
    let mut stamps = producers.join_all().await.concat();
    stamps.sort();
    stamps
}

/// Enqueues until it is aborted; nobody hears what becomes of it.
pub(crate) async fn enqueue_unheard(producer: Inbound) {
    while producer.enqueue(&[job(3)]).await.is_ok() {}
}

pub(crate) fn job(raw_events: usize) -> Job {
    Job::of((0..raw_events).map(|_| raw_event("wa", "x".repeat(500))))
}

/// The numbers of an incarnation that the queue still holds, which go from 1 without gaps; how many they are.
pub(crate) async fn kept(inbound: &Inbound, incarnation: &Incarnation) -> u64 {
    let pending = inbound.pending().await.unwrap();
    let mut kept = 0;
    for job in pending.iter().filter(|job| job.incarnation == *incarnation) {
        assert_eq!(job.first, kept + 1, "numbers are lost from the end only");
        kept += u64::from(job.count);
    }
    kept
}

/// Waits for what nobody tells of.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(SOON, wait).await.expect("it never came true");
}

/// What had been written when.
#[derive(Default)]
pub(crate) struct Samples(Vec<(Instant, u64)>);

impl Samples {
    pub(crate) fn take(&mut self, machine: &Machine) {
        self.0.push((Instant::now(), machine.written()));
    }

    /// How many bytes there were at this moment, at most.
    pub(crate) fn at(&self, moment: Instant) -> u64 {
        self.0.iter().take_while(|(at, _)| *at <= moment).last().unwrap().1
    }
}
