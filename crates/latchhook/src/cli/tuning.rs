//! How patient the stages are, and how wide. The defaults are for production; tests and small machines want others.

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;
use producer::ProducerSettings;
use queue::{ClaimSettings, ConsumerSettings};

use super::schedule::FleetSchedule;

/// Leases, deadlines and the schedule of retries, times as `500ms`, `30s`, `5m` or `2h`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Tuning")]
pub(super) struct Tuning {
    /// How long a worker may be silent before others take its jobs
    #[arg(long, env = "LATCHHOOK_WORKER_LEASE", value_name = "TIME", default_value = "30s", value_parser = time)]
    worker_lease: Duration,

    /// How long a claim holds that nobody renews
    #[arg(long, env = "LATCHHOOK_CLAIM_LEASE", value_name = "TIME", default_value = "1m", value_parser = time)]
    claim_lease: Duration,

    /// How long Redis remembers that a key is committed
    #[arg(long, env = "LATCHHOOK_CLAIM_MEMORY", value_name = "TIME", default_value = "10m", value_parser = time)]
    claim_memory: Duration,

    #[command(flatten)]
    deadline: RequestDeadline,

    /// How much longer a dispatcher holds a delivery, to record what came of it
    #[arg(long, env = "LATCHHOOK_RECORD_WITHIN", value_name = "TIME", default_value = "15s", value_parser = time)]
    record_within: Duration,

    #[command(flatten)]
    schedule: FleetSchedule,

    /// An endpoint that has done nothing but fail for so long is disabled, and its account told
    #[arg(long, env = "LATCHHOOK_DISABLE_AFTER", value_name = "TIME", default_value = "5d", value_parser = time)]
    disable_after: Duration,

    /// Threads of each role; if you do not say, one for every two cores. Where a machine has one role and nothing beside it,
    /// say as many as it has cores, or start more processes
    #[arg(long, env = "LATCHHOOK_THREADS", value_name = "N")]
    pub(super) threads: Option<NonZeroUsize>,

    /// The most that any batch holds (raw events of a push, jobs of a fetch, items of a transaction, deliveries of a lease,
    /// attempts of a record): to measure what batches are good for
    #[arg(long, env = "LATCHHOOK_GROUP", value_name = "N", hide = true)]
    group: Option<NonZeroUsize>,

    /// Transactions of a worker at a time
    #[arg(long, env = "LATCHHOOK_LANES", value_name = "N", default_value = "2", hide = true)]
    lanes: NonZeroUsize,
}

/// What `run` is told, and whoever else sends a request to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct RequestDeadline {
    /// What one request to an endpoint may take, to the last byte of its answer
    #[arg(long, env = "LATCHHOOK_REQUEST_DEADLINE", value_name = "TIME", default_value = "15s", value_parser = time)]
    pub(super) request_deadline: Duration,
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    // Redis counts in milliseconds, and a lease of none would be everybody's.
    if time < Duration::from_millis(1) { Err("less than a millisecond".to_owned()) } else { Ok(time) }
}

impl Default for Tuning {
    fn default() -> Self {
        let (worker, dispatcher) = (worker::Settings::default(), dispatcher::Settings::default());
        Self {
            worker_lease: worker.consumer.lease,
            claim_lease: worker.claims.lease,
            claim_memory: worker.claims.remember_done,
            deadline: RequestDeadline { request_deadline: dispatcher.deadline },
            record_within: dispatcher.slack,
            schedule: dispatcher.schedule.into(),
            disable_after: dispatcher.disable_after,
            threads: None,
            group: None,
            lanes: NonZeroUsize::new(worker.lanes).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

impl Tuning {
    fn claims(&self) -> ClaimSettings {
        ClaimSettings { lease: self.claim_lease, remember_done: self.claim_memory, ..ClaimSettings::default() }
    }

    fn at_most(&self, batch: usize) -> usize {
        self.group.map_or(batch, |group| group.get().min(batch))
    }

    pub(super) fn producer(&self) -> ProducerSettings {
        let default = ProducerSettings::default();
        ProducerSettings { raw_events_per_push: self.at_most(default.raw_events_per_push), ..default }
    }

    pub(super) fn worker(&self) -> worker::Settings {
        let default = worker::Settings::default();
        let fetch_jobs = self.at_most(default.consumer.fetch_jobs);
        let consumer = ConsumerSettings { lease: self.worker_lease, fetch_jobs, ..ConsumerSettings::default() };
        worker::Settings {
            consumer,
            claims: self.claims(),
            group_items: self.at_most(default.group_items),
            transaction_items: self.at_most(default.transaction_items),
            lanes: self.lanes.get(),
            ..default
        }
    }

    pub(super) fn dispatcher(&self) -> dispatcher::Settings {
        let default = dispatcher::Settings::default();
        dispatcher::Settings {
            deadline: self.deadline.request_deadline,
            slack: self.record_within,
            schedule: self.schedule.of(None),
            disable_after: self.disable_after,
            batch: self.at_most(default.batch),
            ..default
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        tuning: Tuning,
    }

    #[test]
    fn the_defaults_are_those_of_the_stages() {
        let Command { tuning } = Command::parse_from(["run"]);

        assert_eq!(tuning, Tuning::default());
    }

    #[test]
    fn a_time_has_a_unit_and_is_not_zero() {
        for wrong in ["5", "", "0s", "soon"] {
            let error = Command::try_parse_from(["run", "--worker-lease", wrong]).unwrap_err();
            assert!(error.to_string().contains("--worker-lease"), "{error}");
        }
    }
}
