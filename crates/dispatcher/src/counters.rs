//! What a dispatcher has done since it started, for the metrics of the binary.

use vocabulary::Counter;

use crate::outcome::Outcome;

/// Counters that only grow. Read them with [`Counters::snapshot`].
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) leased: Counter,
    pub(crate) handed_over: Counter,
    pub(crate) records: Counter,
    pub(crate) recorded: Counter,
    pub(crate) late: Counter,
    pub(crate) released: Counter,
    pub(crate) unrecorded: Counter,
    outcomes: [Counter; Outcome::LABELS.len()],
}

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountersSnapshot {
    /// Deliveries leased.
    pub leased: u64,
    /// Deliveries that a worker of this process handed over.
    pub handed_over: u64,
    /// Statements that recorded attempts.
    pub records: u64,
    /// Attempts recorded in Postgres.
    pub recorded: u64,
    /// Leases dropped before the first byte, because too little of them was left.
    pub late: u64,
    /// Leases given back unused: at shutdown, or for want of a master key.
    pub released: u64,
    /// Attempts that Postgres refused to record, whatever was tried; their deliveries are sent again after the lease.
    pub unrecorded: u64,
    /// Attempts made, by the label of their outcome, in the order of [`Outcome::LABELS`]; zero where there were none.
    pub outcomes: [(&'static str, u64); Outcome::LABELS.len()],
}

impl Counters {
    pub(crate) fn count(&self, outcome: &Outcome) {
        let place = Outcome::LABELS.iter().position(|label| *label == outcome.label());
        if let Some(place) = place {
            self.outcomes[place].add(1);
        }
    }

    /// What they stand at.
    pub fn snapshot(&self) -> CountersSnapshot {
        CountersSnapshot {
            leased: self.leased.get(),
            handed_over: self.handed_over.get(),
            records: self.records.get(),
            recorded: self.recorded.get(),
            late: self.late.get(),
            released: self.released.get(),
            unrecorded: self.unrecorded.get(),
            outcomes: std::array::from_fn(|place| (Outcome::LABELS[place], self.outcomes[place].get())),
        }
    }
}

impl CountersSnapshot {
    /// Attempts made, whatever came of them.
    pub fn sent(&self) -> u64 {
        self.outcomes.iter().map(|(_, count)| count).sum()
    }

    /// Attempts that ended with this label.
    pub fn of(&self, label: &str) -> u64 {
        self.outcomes.iter().filter(|(name, _)| *name == label).map(|(_, count)| count).sum()
    }
}
