//! The injector: makes the planned faults come true, each at its second, beside each other; and writes down when each was.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use rustix::process::Signal;
use tokio::{
    sync::oneshot,
    time::{sleep, sleep_until, timeout_at},
};

use crate::{
    customers::{Customers, Mood},
    fault::{Fault, LATENCY, Store},
    fleet::Fleet,
    lock::lock,
    plan::{Plan, Planned},
    proxy::Weather,
    stage::ENDPOINTS,
    stores::Stores,
};

/// Longer than any lease of the fleet.
const FROZEN_FOR: Duration = Duration::from_secs(6);
/// What is killed is away for so long, at most.
const AWAY: Duration = Duration::from_secs(3);

/// A process that is armed comes to its point within so long under load: the largest bodies are rare, and several may be
/// armed to die one after the other.
const DIE_WITHIN: Duration = Duration::from_secs(90);
/// Any worker commits something within so long, once what else is wrong with it is over.
const COMMITS_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What went wrong, and when.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    pub(crate) fault: Fault,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

/// What came of a plan.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) happened: Vec<Happened>,
    /// When Redis lost its memory.
    pub(crate) forgot: Vec<Instant>,
    /// What was planned and did not come true: a commit that never came, a process that never came to its point.
    pub(crate) never: Vec<String>,
}

impl Record {
    /// How often each class happened.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for happened in &self.happened {
            *counts.entry(happened.fault.class()).or_default() += 1;
        }
        counts
    }

    fn note(&mut self, fault: Fault, from: Instant, to: Instant) {
        self.happened.push(Happened { fault, from, to });
    }
}

/// Everything that faults need.
pub(crate) struct Injector<'a> {
    stores: &'a Stores,
    fleet: &'a Fleet,
    customers: &'a Customers,
    record: Mutex<Record>,
    armed: Mutex<Vec<(Fault, oneshot::Receiver<Instant>)>>,
    redis: tokio::sync::Mutex<()>,
    postgres: tokio::sync::Mutex<()>,
}

impl<'a> Injector<'a> {
    pub(crate) fn new(stores: &'a Stores, fleet: &'a Fleet, customers: &'a Customers) -> Self {
        let (record, armed, redis, postgres) = Default::default();
        Self { stores, fleet, customers, record, armed, redis, postgres }
    }

    /// Makes all of it happen; `say` is told of each when it begins.
    ///
    /// # Errors
    /// When a store cannot be brought back: nothing can be said of the promises then.
    pub(crate) async fn run(&self, plan: &Plan, say: impl Fn(&str)) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut running: FuturesUnordered<_> = plan
            .faults
            .iter()
            .map(|planned| async {
                sleep_until((began + planned.at).into()).await;
                say(&planned.to_string());
                let from = Instant::now();
                self.inject(planned).await?;
                if !matches!(planned.fault, Fault::KillAt { .. }) {
                    lock(&self.record).note(planned.fault.clone(), from, Instant::now());
                }
                anyhow::Ok(())
            })
            .collect();
        while let Some(injected) = running.next().await {
            injected?;
        }
        sleep_until((began + plan.length).into()).await;
        self.see_the_armed_die().await;
        Ok(())
    }

    /// Who was armed late comes to its point only while there is something to do.
    async fn see_the_armed_die(&self) {
        let armed = std::mem::take(&mut *lock(&self.armed));
        let deadline = Instant::now() + DIE_WITHIN;
        for (fault, died) in armed {
            match timeout_at(deadline.into(), died).await {
                Ok(Ok(at)) => lock(&self.record).note(fault, at, at),
                _ => lock(&self.record).never.push(fault.to_string()),
            }
        }
    }

    /// What came of it.
    pub(crate) fn into_record(self) -> Record {
        self.record.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    async fn inject(&self, planned: &Planned) -> anyhow::Result<()> {
        let (fleet, lasts) = (self.fleet, planned.lasts);
        match &planned.fault {
            Fault::Kill(process) => fleet.member(*process).kill(),
            Fault::KillAt { process, point, nth } => {
                let died = fleet.member(*process).arm(format!("{point}:{nth}"));
                lock(&self.armed).push((planned.fault.clone(), died));
            }
            Fault::Freeze(process) => {
                fleet.member(*process).signal(Signal::STOP);
                sleep(FROZEN_FOR).await;
                fleet.member(*process).signal(Signal::CONT);
            }
            Fault::RollingStop => {
                for member in &fleet.members {
                    member.restart().await?;
                }
            }
            Fault::ClockStep { process, seconds } => {
                fleet.member(*process).set_clock(*seconds);
                sleep(lasts).await;
                fleet.member(*process).set_clock(0);
            }
            // One after the other: a Redis that is away cannot be full.
            Fault::RedisRestart => {
                let _turn = self.redis.lock().await;
                self.stores.restart_redis(lasts.min(AWAY)).await?;
            }
            Fault::RedisFull => {
                let _turn = self.redis.lock().await;
                self.stores.fill_redis(lasts).await?;
            }
            Fault::PostgresRestart => {
                let _turn = self.postgres.lock().await;
                self.stores.restart_postgres(lasts.min(AWAY)).await?;
            }
            Fault::CutCommit { process, when } => {
                let proxy = fleet.member(*process).proxy(Store::Postgres);
                let before = proxy.commits_cut();
                proxy.cut_commits(1, *when);
                let asked = Instant::now();
                while proxy.commits_cut() == before {
                    sleep(LOOK_EVERY).await;
                    if asked.elapsed() > COMMITS_WITHIN {
                        lock(&self.record).never.push(planned.fault.to_string());
                        break;
                    }
                }
            }
            Fault::Latency { process, store } => {
                fleet.member(*process).set(*store, Weather::Slow(LATENCY));
                sleep(lasts).await;
                fleet.member(*process).set(*store, Weather::Fair);
            }
            Fault::Reset { process, store } => {
                let _connections = fleet.member(*process).proxy(*store).cut();
            }
            Fault::BlackHole { process, store } => {
                fleet.member(*process).set(*store, Weather::BlackHole);
                sleep(lasts).await;
                fleet.member(*process).set(*store, Weather::Refusing);
                fleet.member(*process).set(*store, Weather::Fair);
            }
            Fault::Customer { endpoint, mood } => {
                let (endpoint, _) = ENDPOINTS[*endpoint];
                self.customers.set_mood(endpoint, Fault::mood(mood))?;
                sleep(lasts).await;
                self.customers.set_mood(endpoint, Mood::Content)?;
            }
            Fault::RedisEmpty => self.lose_memory(async { self.stores.empty_redis().await }).await?,
            Fault::RedisFlush => self.lose_memory(async { self.stores.flush_redis().await }).await?,
        }
        Ok(())
    }

    /// While the workers are frozen something is queued, so that there is something to lose.
    async fn lose_memory(&self, lose: impl Future<Output = anyhow::Result<Instant>>) -> anyhow::Result<()> {
        let workers = || self.fleet.members.iter().filter(|member| member.name.is_worker());
        let _turn = self.redis.lock().await;
        workers().for_each(|worker| worker.signal(Signal::STOP));
        sleep(Duration::from_millis(700)).await;
        let forgot = lose.await?;
        lock(&self.record).forgot.push(forgot);
        workers().for_each(|worker| worker.signal(Signal::CONT));
        Ok(())
    }
}
