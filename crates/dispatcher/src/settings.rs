//! How a dispatcher works.

use std::time::Duration;

use crate::{in_flight::Limits, outcome::Schedule};

/// What a Postgres records for one process that is as slow as we are ready to bear: a hundredth of what it does on two cores.
const RECORDED_A_SECOND: f64 = 80.0;

/// How a dispatcher works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Deliveries that this process sends at the same time, half of what others leave for one account; fewer where the slack is
    /// short, because what is not recorded when its lease ends is sent again.
    pub in_flight: usize,
    /// Of these, to one endpoint; never more than a quarter of what may be sent.
    pub per_endpoint: usize,
    /// Deliveries that one statement leases, and attempts that one records, at most.
    pub batch: usize,
    /// Bytes of large bodies that are in memory at one time: of those that do not come with their leases
    /// ([`database::due::LARGEST_BROUGHT`]). Each counts once, however many deliveries have it. An account has half of what others
    /// leave; a body that is larger than half of all is sent when there is room for it, one that is larger than all alone.
    pub large_bytes: usize,
    /// What one attempt may take, from the name's resolution to the last byte of the answer.
    pub deadline: Duration,
    /// How much longer than the deadline a lease is: the time to record the result before somebody else sends again.
    pub slack: Duration,
    /// The longest pause between two looks into `due`, when nobody wakes the loop.
    pub poll: Duration,
    /// When failed deliveries are tried again.
    pub schedule: Schedule,
    /// An endpoint that has done nothing but fail for so long is disabled, and its account told. What it is owed is held.
    pub disable_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            in_flight: 256,
            per_endpoint: 64,
            batch: 500,
            large_bytes: 128 << 20,
            deadline: Duration::from_secs(15),
            slack: Duration::from_secs(15),
            poll: Duration::from_secs(1),
            schedule: Schedule::default(),
            disable_after: Duration::from_secs(5 * 24 * 3600),
        }
    }
}

impl Settings {
    /// How long a delivery is leased.
    pub(crate) fn lease(&self) -> Duration {
        self.deadline + self.slack
    }

    /// How long what is leased may wait before it is sent: the rest of the slack is for recording what came of it.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.slack / 4
    }

    /// No more is sent and not recorded yet than a slow Postgres records within what a wait leaves of the slack. Else
    /// leases would end before what came of them is recorded, and others would send again what was delivered.
    pub(crate) fn limits(&self) -> Limits {
        let for_recording = (self.slack - self.longest_wait()).as_secs_f64();
        let unrecorded = (for_recording * RECORDED_A_SECOND).ceil().max(1.0) as usize;
        let in_flight = self.in_flight.min(unrecorded.div_ceil(2));
        let per_endpoint = self.per_endpoint.min(in_flight.div_ceil(4));
        Limits { in_flight, per_endpoint, unrecorded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_the_slack_the_less_is_on_the_way() {
        let with = |slack| Settings { slack: Duration::from_secs(slack), ..Settings::default() }.limits();

        assert_eq!(with(15), Limits { in_flight: 256, per_endpoint: 64, unrecorded: 900 });
        assert_eq!(with(2), Limits { in_flight: 60, per_endpoint: 15, unrecorded: 120 });
        assert_eq!(with(0), Limits { in_flight: 1, per_endpoint: 1, unrecorded: 1 });
    }
}
