//! What was done, and what it took.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use anyhow::ensure;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{super::usage, stage};

/// So much, so often.
#[derive(Debug, Default)]
pub(super) struct Groups {
    sum: AtomicU64,
    groups: AtomicU64,
}

impl Groups {
    pub(super) fn add(&self, size: usize) {
        self.sum.fetch_add(size as u64, Relaxed);
        self.groups.fetch_add(1, Relaxed);
    }

    fn sum(&self) -> u64 {
        self.sum.load(Relaxed)
    }

    fn mean(&self) -> f64 {
        self.sum() as f64 / self.groups.load(Relaxed).max(1) as f64
    }
}

/// Counted by all stages.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Raw events that Redis has taken.
    pub pushed: Groups,
    /// Raw events that a worker has taken.
    pub taken: Groups,
    /// Events that were new to Redis, and went to Postgres together.
    pub claimed: Groups,
    /// Events that were new to Postgres.
    pub inserted: AtomicU64,
    /// Answered with 200 by a customer.
    pub delivered: AtomicU64,
    /// Results that Postgres has.
    pub recorded: Groups,
    /// Requests that were none of a source's, or not signed by its secret.
    pub refused: AtomicU64,
    /// Items that are no text message.
    pub not_understood: AtomicU64,
    /// Deliveries that were not answered with 200.
    pub failed: AtomicU64,
}

/// What is printed.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    requests: u64,
    taken: u64,
    claimed: u64,
    inserted: u64,
    delivered: u64,
    recorded: u64,
    refused: u64,
    not_understood: u64,
    failed: u64,
    /// The mean number in one push, pop, transaction and statement of the recorder.
    groups: BTreeMap<&'static str, f64>,
    cpu_seconds: BTreeMap<&'static str, f64>,
    /// Of the process, by stage, over the requests that it took in.
    cpu_us_per_request: BTreeMap<&'static str, f64>,
}

impl Report {
    /// Whether all went as planned.
    ///
    /// # Errors
    /// When something was not taken from the queue, not understood, not answered with 200, or not recorded; it is in what was
    /// told before.
    pub(super) fn judge(&self, customers: u64) -> anyhow::Result<()> {
        let Self { requests, taken, inserted, recorded, not_understood, failed, .. } = *self;
        ensure!(
            taken == requests && not_understood == 0 && failed == 0 && recorded == inserted * customers,
            "this is no measurement: {taken} of {requests} raw events were taken from the queue, {not_understood} items not \
             understood, {failed} deliveries not answered with 200, and of {inserted} events owed to {customers} customers \
             {recorded} deliveries are recorded",
        );
        Ok(())
    }
}

impl Tally {
    /// Waits until everything that was taken in has come to its end, but no longer than this.
    pub(super) async fn settle(&self, customers: u64, most: Duration) {
        let end = Instant::now() + most;
        let mut before = None;
        loop {
            let now = (self.pushed.sum(), self.taken.sum(), self.inserted.load(Relaxed), self.recorded.sum());
            let (pushed, taken, inserted, recorded) = now;
            let ended = recorded + self.failed.load(Relaxed);
            // Taken, and not inserted yet, is counted nowhere: hence twice the same.
            if (pushed == taken && ended >= inserted * customers && before == Some(now)) || Instant::now() > end {
                return;
            }
            before = Some(now);
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) fn report(&self) -> Report {
        let requests = self.pushed.sum();
        let used = usage::cpu_by_thread("self");
        let of_stages = || stage::NAMES.into_iter().map(|name| (name, used.get(name).copied().unwrap_or_default()));
        let us_per_request = |cpu: Duration| cpu.as_secs_f64() * 1e6 / requests.max(1) as f64;
        Report {
            requests,
            taken: self.taken.sum(),
            claimed: self.claimed.sum(),
            inserted: self.inserted.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            recorded: self.recorded.sum(),
            refused: self.refused.load(Relaxed),
            not_understood: self.not_understood.load(Relaxed),
            failed: self.failed.load(Relaxed),
            groups: BTreeMap::from([
                ("push", rounded(self.pushed.mean())),
                ("take", rounded(self.taken.mean())),
                ("commit", rounded(self.claimed.mean())),
                ("record", rounded(self.recorded.mean())),
            ]),
            cpu_seconds: of_stages().map(|(name, cpu)| (name, rounded(cpu.as_secs_f64()))).collect(),
            cpu_us_per_request: of_stages().map(|(name, cpu)| (name, rounded(us_per_request(cpu)))).collect(),
        }
    }
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(inserted: u64, recorded: usize) -> Tally {
        let tally = Tally::default();
        tally.inserted.store(inserted, Relaxed);
        tally.recorded.add(recorded);
        tally
    }

    #[test]
    fn each_event_is_recorded_for_each_customer_or_nothing_was_measured() {
        let all = tally(3, 6).report();

        let short = all.judge(3).unwrap_err().to_string();

        assert!(short.contains("of 3 events owed to 3 customers 6 deliveries are recorded"), "{short}");
        all.judge(2).unwrap();
    }

    #[test]
    fn what_was_left_or_not_understood_or_not_answered_well_is_no_measurement_though_all_else_is_recorded() {
        let (left, not_understood, failed) = (tally(3, 3), tally(3, 3), tally(3, 3));
        left.pushed.add(4);
        left.taken.add(3);
        not_understood.not_understood.store(1, Relaxed);
        failed.failed.store(1, Relaxed);

        left.report().judge(1).unwrap_err();
        not_understood.report().judge(1).unwrap_err();
        failed.report().judge(1).unwrap_err();
    }
}
