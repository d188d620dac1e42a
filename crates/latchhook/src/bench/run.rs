//! One run: a subject, a case, private stores; measured, then judged.
//!
//! ```text
//! start ─▶ warm up ─▶ flat out, until the queues stand ─▶ at a quarter, half, four fifths of that ─▶ 10/s ─▶ nothing ─▶ judge
//! ```
//!
//! The customer says when all has come; only then the queues are looked at. Nobody polls while the sender sends.

mod fairness;
mod flood;
mod sample;

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::Serialize;
use tokio::time::sleep;
use vocabulary::MasterKey;

use super::{
    case::Case,
    customer::Customer,
    histogram::Latency,
    judge::{self, Expected},
    neighbours::{self, Fairness},
    preload,
    refusal::{self, Refusal},
    stores::Stores,
    subject::{Running, Subject},
    tenants::{self, Crowd},
};
use crate::run::Settings;
use flood::Flood;
use sample::Sample;

/// How thorough a run is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thoroughness {
    /// How long each rate is held, and nothing is done; zero: not at all.
    pub(super) hold: Duration,
}

/// Parts of the measured maximum that latency is measured at.
const PARTS: [f64; 3] = [0.25, 0.5, 0.8];
/// A pipeline that has nearly nothing to do.
const IDLE_RATE: f64 = 10.0;
/// Connections, plans and caches are there after so small a part of the events.
const WARM_UP_PART: u64 = 20;
/// How long what is in flight may take to quieten before nothing is measured.
const QUIETEN: Duration = Duration::from_millis(500);

/// What came of one run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Run {
    /// Whose.
    pub(super) subject: Subject,
    /// In which case.
    pub(super) case: String,
    /// Sent flat out, those that were sent again included.
    pub(super) events: u64,
    /// From the first until the queues stood.
    pub(super) seconds: f64,
    /// The one by the other.
    pub(super) events_per_second: f64,
    /// Deliveries by the seconds from the first event until the customer had them all. A duplicate whose twin was being
    /// worked on is put off for a moment, which is seen in the figure above and not in this.
    pub(super) deliveries_per_second: f64,
    /// CPU time by event, in microseconds, of each process, and of each kind of threads of the subject's.
    pub(super) cpu_us: BTreeMap<String, f64>,
    /// That part of it which came after all events were queued, of a backlog.
    pub(super) behind_us: BTreeMap<String, f64>,
    /// How many cores were kept from all of these by what else ran on the machine. Above 0.3, rates are worth little.
    pub(super) cores_of_others: f64,
    /// Memory in bytes.
    pub(super) memory: BTreeMap<String, u64>,
    /// Bytes that Postgres put into its log, by event.
    pub(super) wal_bytes: f64,
    /// How much was done at once, on average.
    pub(super) groups: BTreeMap<String, f64>,
    /// What the intake answered in, flat out.
    pub(super) intake: Latency,
    /// Until the customer had it, flat out.
    pub(super) delivery: Latency,
    /// Deliveries that came twice, flat out.
    pub(super) doubled: u64,
    /// At rates that the pipeline can keep.
    pub(super) at_rates: Vec<AtRate>,
    /// What the subject's threads use, in thousandths of a core, while there is nothing to do.
    pub(super) idle_cpu: BTreeMap<String, f64>,
    /// What it costs to refuse a forged request, where that was measured.
    pub(super) refusal: Option<Refusal>,
    /// What neighbours that nobody would choose do to latency, where that was measured.
    pub(super) fairness: Option<Fairness>,
    /// What many sources cost, where there are many.
    pub(super) crowd: Option<Crowd>,
    /// What was not as it must be; nothing in a good run.
    pub(super) wrong: Vec<String>,
}

/// Latency at a rate.
#[derive(Debug, Clone, Serialize)]
pub(super) struct AtRate {
    /// Which part of the maximum it is; `None` for a fixed rate.
    pub(super) part: Option<f64>,
    /// Events a second.
    pub(super) rate: f64,
    /// From when an event was due until the customer had it.
    pub(super) delivery: Latency,
}

#[cfg(test)]
impl Run {
    /// Of so many events a second, with latency at two parts of that.
    pub(super) fn example(subject: Subject, case: &str, events_per_second: f64) -> Self {
        let delivery = Latency { p50_us: 2_000, p90_us: 5_000, p99_us: 9_000, p999_us: 12_000, max_us: 15_000 };
        let at = |part| AtRate { part: Some(part), rate: events_per_second * part, delivery };
        Self {
            subject,
            case: case.to_owned(),
            events: 1000,
            seconds: 1000.0 / events_per_second,
            events_per_second,
            deliveries_per_second: events_per_second * 0.8,
            cpu_us: [("stages: worker", 20.0), ("stages: main", 5.0), ("redis", 10.0)].map(named).into(),
            behind_us: BTreeMap::new(),
            cores_of_others: 0.0,
            memory: BTreeMap::new(),
            wal_bytes: 3000.0,
            groups: BTreeMap::new(),
            intake: delivery,
            delivery,
            doubled: 0,
            at_rates: vec![at(0.25), at(0.5)],
            idle_cpu: BTreeMap::new(),
            refusal: None,
            fairness: None,
            crowd: None,
            wrong: Vec::new(),
        }
    }
}

#[cfg(test)]
fn named((name, number): (&str, f64)) -> (String, f64) {
    (name.to_owned(), number)
}

/// What a run goes on with.
struct Scene<'a> {
    case: &'a Case,
    stores: Stores,
    customer: &'a mut Customer,
    subject: Running,
    redis: queue::Redis,
    expected: Expected,
    wrong: Vec<String>,
    master: MasterKey,
}

/// Measures one subject in one case.
///
/// # Errors
/// When it could not be measured to its end. What it did wrong is in the [`Run`].
pub(super) async fn run(
    who: Subject,
    case: &Case,
    settings: &Settings,
    directory: &Path,
    customer: &mut Customer,
    thoroughness: Thoroughness,
) -> anyhow::Result<Run> {
    let stores = Stores::start(directory, case).await?;
    database::migrate(&stores.near_database_url).await?;
    preload::fill(&stores, case.preload).await?;
    let master = MasterKey::parse(&settings.master_key)?;
    tenants::move_in(&stores, &master, case.tenants).await?;
    let before = Expected::of(&stores.near_database_url).await?;
    let subject = who.start(settings, case, &stores, customer).await?;
    let redis = stores.redis(&settings.prefix)?;
    let (expected, wrong) = (Expected::default(), Vec::new());
    let mut scene = Scene { case, stores, customer, subject, redis, expected, wrong, master };

    let mut run = scene.flat_out(who).await?;
    if case.tenants > 0 && who == Subject::Latchhook {
        run.crowd =
            Some(tenants::measure(&scene.stores, &settings.prefix, &scene.master, &scene.subject.address()).await?);
    }
    let hold = thoroughness.hold;
    if case.neighbours && !hold.is_zero() {
        run.fairness = Some(scene.fairness(run.events_per_second, hold).await?);
    } else if !hold.is_zero() {
        run.at_rates = scene.at_rates(run.events_per_second, hold).await?;
        run.idle_cpu = scene.idle(hold).await?;
        run.refusal = scene.refusal(who).await?;
    }
    let Scene { stores, subject, redis, mut expected, mut wrong, .. } = scene;
    subject.stop().await?;
    expected.left = neighbours::left(&stores).await?;
    if who == Subject::Latchhook {
        wrong.extend(judge::judge(&redis, &stores.near_database_url, &expected.after(before)).await?);
    }
    Ok(Run { wrong, ..run })
}

impl Scene<'_> {
    async fn flat_out(&mut self, who: Subject) -> anyhow::Result<Run> {
        if !self.case.backlog {
            self.flood("warm", self.case.events.div_ceil(WARM_UP_PART), None).await?;
        }
        self.stores.forget_peak();
        super::usage::forget_peak(&self.subject.process());
        let before = self.sample().await?;
        let flood = self.flood("flat", self.case.events, None).await?;
        let after = self.sample().await?;
        let Flood { sent, heard, queued, seconds, seconds_to_customer } = flood;
        let used = after.since(&before);

        let by_event = |amount: f64| amount / sent.events as f64;
        let mut cpu_us = used.cpu_us(sent.events);
        cpu_us.insert("sender".to_owned(), by_event(sent.cpu_seconds * 1e6));
        let ours = cpu_us.values().sum::<f64>() * sent.events as f64 / 1e6;
        Ok(Run {
            subject: who,
            case: self.case.name.clone(),
            events: sent.events,
            seconds,
            events_per_second: sent.events as f64 / seconds,
            deliveries_per_second: heard.distinct as f64 / seconds_to_customer,
            cpu_us,
            behind_us: queued.map(|queued| after.since(&queued).cpu_us(sent.events)).unwrap_or_default(),
            cores_of_others: (used.busy.as_secs_f64() - ours).max(0.0) / seconds,
            memory: self.memory(heard.rss_bytes),
            wal_bytes: by_event(used.wal as f64),
            groups: groups(&used.counters),
            intake: sent.latency,
            delivery: heard.latency,
            doubled: heard.doubled,
            at_rates: Vec::new(),
            idle_cpu: BTreeMap::new(),
            refusal: None,
            fairness: None,
            crowd: None,
            wrong: Vec::new(),
        })
    }

    async fn sample(&self) -> anyhow::Result<Sample> {
        Sample::take(&self.stores, &self.subject, self.customer).await
    }

    fn memory(&self, customer: u64) -> BTreeMap<String, u64> {
        let own = super::usage::peak(&self.subject.process());
        let others = [("stages".to_owned(), own), ("customer".to_owned(), customer)];
        self.stores.memory().into_iter().chain(others).collect()
    }

    async fn at_rates(&mut self, most: f64, hold: Duration) -> anyhow::Result<Vec<AtRate>> {
        let parts = PARTS.map(|part| (Some(part), most * part));
        let mut measured = Vec::new();
        for (part, rate) in parts.into_iter().chain([(None, IDLE_RATE)]) {
            let events = (rate * hold.as_secs_f64()).ceil() as u64;
            let heard = self.flood(&format!("{rate:.0}"), events, Some(rate)).await?.heard;
            measured.push(AtRate { part, rate, delivery: heard.latency });
        }
        Ok(measured)
    }

    /// The ceiling promises nothing to strangers, and is not asked.
    async fn refusal(&self, who: Subject) -> anyhow::Result<Option<Refusal>> {
        if who == Subject::Latchhook { refusal::measure(&self.subject.url()).await.map(Some) } else { Ok(None) }
    }

    /// What is used while nobody sends anything.
    async fn idle(&self, hold: Duration) -> anyhow::Result<BTreeMap<String, f64>> {
        sleep(QUIETEN).await;
        let before = self.subject.cpu();
        sleep(hold).await;
        let after = self.subject.cpu();
        let thousandths = |(name, used): (String, Duration)| {
            let used = used.saturating_sub(before.get(&name).copied().unwrap_or_default());
            (name, 1000.0 * used.as_secs_f64() / hold.as_secs_f64())
        };
        Ok(after.into_iter().map(thousandths).collect())
    }
}

/// How much was done at once, on average: what one counter says by each of what another says.
fn groups(counted: &BTreeMap<String, u64>) -> BTreeMap<String, f64> {
    const PAIRS: [(&str, &str, &str); 7] = [
        ("raw events a job", "worker.raw_events", "worker.jobs"),
        ("raw events a group", "worker.raw_events", "worker.groups"),
        ("raw events a transaction", "worker.raw_events", "worker.transactions"),
        ("events a transaction", "worker.committed", "worker.transactions"),
        ("attempts a record", "dispatcher.recorded", "dispatcher.records"),
        ("raw events a push", "producer.raw_events", "producer.pushes"),
        ("handed over, of deliveries", "dispatcher.handed_over", "dispatcher.sent"),
    ];
    let average = |(name, of, by): (&str, &str, &str)| match (counted.get(of), counted.get(by)) {
        (Some(of), Some(by)) if *by > 0 => Some((name.to_owned(), *of as f64 / *by as f64)),
        _ => None,
    };
    PAIRS.into_iter().filter_map(average).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_at_once_is_one_counter_by_another_and_nothing_where_nothing_was_counted() {
        let counted =
            [("worker.committed", 300), ("worker.transactions", 4), ("worker.jobs", 0), ("worker.raw_events", 10)];
        let counted = counted.map(|(name, count)| (name.to_owned(), count)).into();

        let expected = [("events a transaction", 75.0), ("raw events a transaction", 2.5)].map(named);
        assert_eq!(groups(&counted), BTreeMap::from(expected));
    }
}
