//! What everybody has used and counted at one moment.

use std::{collections::BTreeMap, time::Duration};

use super::super::{customer::Customer, stores::Stores, subject::Running, usage};

/// At one moment; or, after [`Sample::since`], between two.
pub(super) struct Sample {
    /// Of each process; of the subject's, of each kind of threads.
    pub(super) cpu: BTreeMap<String, Duration>,
    /// The subject's.
    pub(super) counters: BTreeMap<String, u64>,
    /// Bytes.
    pub(super) wal: u64,
    /// Of the whole machine.
    pub(super) busy: Duration,
}

impl Sample {
    pub(super) async fn take(stores: &Stores, subject: &Running, customer: &Customer) -> anyhow::Result<Self> {
        let wal = stores.wal().await?;
        let threads = subject.cpu().into_iter().map(|(name, used)| (format!("stages: {name}"), used));
        let customer = ("customer".to_owned(), usage::cpu(&customer.pid().to_string()));
        let cpu = threads.chain(stores.cpu()).chain([customer]).collect();
        Ok(Self { cpu, counters: subject.counters(), wal, busy: usage::cpu_of_machine() })
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        let used = |(name, used): (&String, &Duration)| {
            (name.clone(), used.saturating_sub(before.cpu.get(name).copied().unwrap_or_default()))
        };
        let counted = |(name, count): (&String, &u64)| {
            (name.clone(), count.saturating_sub(before.counters.get(name).copied().unwrap_or_default()))
        };
        Self {
            cpu: self.cpu.iter().map(used).collect(),
            counters: self.counters.iter().map(counted).collect(),
            wal: self.wal.saturating_sub(before.wal),
            busy: self.busy.saturating_sub(before.busy),
        }
    }

    /// Microseconds of CPU time for each of so many events.
    pub(super) fn cpu_us(&self, events: u64) -> BTreeMap<String, f64> {
        let by_event = |used: &Duration| used.as_secs_f64() * 1e6 / events as f64;
        self.cpu.iter().map(|(who, used)| (who.clone(), by_event(used))).collect()
    }
}
