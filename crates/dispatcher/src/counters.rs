//! What a dispatcher has done since it started, for the metrics of the binary.

use database::attempts::Recorded;
use vocabulary::Counter;

use crate::outcome::{Next, Outcome};

/// Why deliveries are abandoned: what the last attempt of a schedule came to, or `give_up_on` where the endpoint takes such an
/// answer for the last word.
pub(crate) const CAUSES: [&str; Outcome::LABELS.len()] = {
    let mut causes = Outcome::LABELS;
    // In the place of `delivered`, which is none.
    causes[0] = "give_up_on";
    causes
};

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident),* $(,)?) => {
        /// Counters that only grow. Read them with [`Counters::snapshot`].
        #[derive(Debug, Default)]
        pub struct Counters {
            $(pub(crate) $name: Counter,)*
            outcomes: [Counter; Outcome::LABELS.len()],
            abandoned: [Counter; CAUSES.len()],
        }

        /// The counters at one moment.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct CountersSnapshot {
            $($(#[doc = $help])+ pub $name: u64,)*
            /// Attempts made, by the label of their outcome, in the order of [`Outcome::LABELS`]; zero where there were none.
            pub outcomes: [(&'static str, u64); Outcome::LABELS.len()],
            /// Deliveries that this process has recorded as abandoned, by cause: the last outcome, or `give_up_on`; zero where there were none.
            pub abandoned: [(&'static str, u64); CAUSES.len()],
        }

        impl Counters {
            /// What they stand at.
            pub fn snapshot(&self) -> CountersSnapshot {
                CountersSnapshot {
                    $($name: self.$name.get(),)*
                    outcomes: std::array::from_fn(|place| (Outcome::LABELS[place], self.outcomes[place].get())),
                    abandoned: std::array::from_fn(|place| (CAUSES[place], self.abandoned[place].get())),
                }
            }
        }

        impl CountersSnapshot {
            /// All but what has labels: the name of each, what it counts, and what it stands at.
            pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($help),+).trim_ascii(), self.$name)),*]
            }
        }
    };
}

counters! {
    /// Deliveries leased.
    leased,
    /// Deliveries that a worker of this process handed over.
    handed_over,
    /// Statements that recorded attempts.
    records,
    /// Attempts recorded in Postgres.
    recorded,
    /// Attempts that Postgres refused to record, whatever was tried; their deliveries are sent again after the lease.
    unrecorded,
    /// Deliveries that this process came too late to send: too little was left of their lease.
    late,
    /// Deliveries given back because they had waited on the desk for as long as they may: their customers take them more slowly than they come.
    waited_too_long,
    /// Deliveries given back in time and not sent: at shutdown, for want of a master key, or because their endpoint is left alone.
    released,
    /// Deliveries given back because nobody could be asked for the address of their endpoint: too many look-ups were not answered.
    put_off,
    /// Deliveries given back for a second because the large bodies that were being sent left their account no room in the memory that there is for them.
    put_off_large,
    /// Answers that asked for a later retry (Retry-After) and got it, a day later at most.
    wishes_followed,
    /// Circuits that opened: an endpoint had failed too often in a row.
    circuits_opened,
    /// Circuits that a success has closed.
    circuits_closed,
    /// Endpoints disabled because they are gone, or had done nothing but fail for days.
    endpoints_disabled,
}

impl Counters {
    /// An attempt, and what follows from it.
    pub(crate) fn count(&self, outcome: &Outcome, next: Next) {
        let is_followed = outcome.asks_for_later() && matches!(next, Next::Retry { .. });
        self.wishes_followed.add(usize::from(is_followed));
        count_one(&self.outcomes, Outcome::LABELS, outcome.label());
    }

    /// A delivery that is recorded as abandoned.
    pub(crate) fn count_abandoned(&self, cause: &str) {
        count_one(&self.abandoned, CAUSES, cause);
    }
}

/// Why a delivery is abandoned whose last attempt this is: one of [`CAUSES`].
pub(crate) fn cause_of(last: &Recorded) -> &'static str {
    if last.next == Next::GivenUp { CAUSES[0] } else { last.outcome }
}

fn count_one<const N: usize>(counters: &[Counter; N], labels: [&str; N], label: &str) {
    if let Some(place) = labels.iter().position(|known| *known == label) {
        counters[place].add(1);
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
