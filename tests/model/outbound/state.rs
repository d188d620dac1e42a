//! What the outbound half consists of at one moment: the delivery in Postgres, the dispatchers, and what the customer has got.
//!
//! Leases have numbers that only grow; all that is ever asked of one is whether it is still the current one. So the row
//! says whose lease it is, and nothing grows here.

/// Requests that can be under way at the same time, each in another dispatcher: A, B and C.
pub(super) const DISPATCHERS: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    pub delivery: Delivery,
    /// The row of `due`: there as long as an attempt is owed.
    pub due: Option<Lease>,
    pub dispatchers: [Dispatcher; DISPATCHERS],
    /// Who has a lease that has neither ended nor been given back.
    pub holders: [bool; DISPATCHERS],
    /// What the event's message says now, after the commit: it has been edited.
    pub edited: bool,
    /// Postgres lost the commit, and the event was recorded again from a duplicate.
    pub again: bool,
    pub customer: Customer,
    /// A success has been recorded.
    pub succeeded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Delivery {
    /// Its transaction has not committed.
    #[default]
    Absent,
    Pending,
    Delivered,
    Abandoned,
}

/// Who leased the row last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lease {
    /// Nobody: it is due.
    None,
    Of(usize),
    /// It has ended; its number is still the current one.
    Ended(usize),
    /// A dispatcher that has died. It has to end like any other.
    OfTheDead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Dispatcher {
    #[default]
    Idle,
    /// It has the row in memory. `stale`: of a delivery that Postgres has lost meanwhile.
    Leased { stale: bool },
    /// It knows what came of its request. `recorded`: and has told Postgres, which was not heard.
    Answered { delivered: bool, recorded: bool, stale: bool },
}

/// What the customer has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Customer {
    /// Requests; two are enough to tell that it is more than one.
    pub requests: u8,
    /// `webhook-id`s that differ, as bits.
    pub ids: u8,
    /// Bodies that differ, as bits, of this delivery.
    pub bodies: u8,
}

impl State {
    /// The row still has the number of this dispatcher's lease, ended or not.
    pub(super) fn is_current(&self, dispatcher: usize) -> bool {
        self.due == Some(Lease::Of(dispatcher)) || self.due == Some(Lease::Ended(dispatcher))
    }
}
