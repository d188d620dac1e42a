//! What must be true at every moment, and what must happen at some.

use stateright::Property;

use super::{
    Outbound,
    state::{Delivery, Dispatcher, Lease, State},
};

/// Promise 3.
pub(crate) const SENT_IF_COMMITTED: &str = "what is sent was committed";
/// Promise 3.
pub(crate) const OWED_IS_DUE: &str = "what is owed is due";
/// Promise 4.
pub(crate) const ONE_ID: &str = "every attempt has the same id";
/// Promise 4.
pub(crate) const ONE_BODY: &str = "every attempt has the same body";
/// Promise 4.
pub(crate) const DELIVERED_IS_TRUE: &str = "what is delivered was received";
/// Promise 4.
pub(crate) const SUCCESS_STAYS: &str = "a success that was heard of is kept";
/// Promise 4.
pub(crate) const CAN_BE_DELIVERED: &str = "whatever happened, it can still be delivered";
/// Economy.
pub(crate) const ONE_LEASE: &str = "one lease at a time";

pub(super) fn all() -> Vec<Property<Outbound>> {
    type Moment = fn(&Outbound, &State) -> bool;
    let always: [(&'static str, Moment); 8] = [
        (SENT_IF_COMMITTED, |_, state| state.customer.requests == 0 || state.was_committed()),
        (OWED_IS_DUE, |_, state| (state.delivery == Delivery::Pending) == state.due.is_some()),
        (ONE_ID, |_, state| state.customer.ids.count_ones() <= 1),
        (ONE_BODY, |_, state| state.customer.bodies.count_ones() <= 1),
        (DELIVERED_IS_TRUE, |_, state| state.delivery != Delivery::Delivered || state.customer.requests > 0),
        (SUCCESS_STAYS, |_, state| !state.succeeded || state.delivery == Delivery::Delivered),
        (CAN_BE_DELIVERED, |model, state| model.can_be_delivered(state)),
        (ONE_LEASE, |_, state| state.holders.iter().filter(|holds| **holds).count() <= 1),
    ];
    let sometimes: [(&'static str, Moment); 8] = [
        ("it is delivered", |_, state| state.delivery == Delivery::Delivered),
        ("the customer hears of it twice", |_, state| state.customer.requests > 1),
        ("a dispatcher dies after the answer and before the record", |_, state| {
            state.due == Some(Lease::OfTheDead) && state.customer.requests > 0
        }),
        ("a failure comes after another has leased it", |_, state| state.is_overtaken(false)),
        ("a success comes after another has leased it", |_, state| state.is_overtaken(true)),
        ("a success comes after it was given up", |_, state| {
            state.delivery == Delivery::Abandoned && state.any_answer(|_, delivered| delivered)
        }),
        ("an attempt is recorded twice", |_, state| {
            let is_recorded = |it: &Dispatcher| matches!(it, Dispatcher::Answered { recorded: true, .. });
            state.dispatchers.iter().any(is_recorded)
        }),
        ("Postgres has lost what the customer has", |_, state| {
            state.again && state.delivery == Delivery::Pending && state.customer.requests > 0
        }),
    ];
    let always = always.map(|(name, condition)| Property::always(name, condition));
    let sometimes = sometimes.map(|(name, condition)| Property::sometimes(name, condition));
    always.into_iter().chain(sometimes).collect()
}

impl Outbound {
    /// Far fewer steps than thirty: who needs so many goes in circles.
    fn can_be_delivered(&self, state: &State) -> bool {
        let mut state = state.clone();
        for _ in 0..30 {
            let Some(action) = self.calm_step(&state) else { return state.delivery == Delivery::Delivered };
            self.apply(&mut state, action);
        }
        false
    }
}

impl State {
    fn was_committed(&self) -> bool {
        self.delivery != Delivery::Absent || self.again
    }

    /// A result is about to be recorded whose lease is another's by now.
    fn is_overtaken(&self, wanted: bool) -> bool {
        self.any_answer(|dispatcher, delivered| {
            delivered == wanted && matches!(self.due, Some(Lease::Of(other)) if other != dispatcher)
        })
    }

    fn any_answer(&self, wanted: impl Fn(usize, bool) -> bool) -> bool {
        self.dispatchers.iter().enumerate().any(|(dispatcher, it)| match *it {
            Dispatcher::Answered { delivered, recorded: false, stale: false } => wanted(dispatcher, delivered),
            _ => false,
        })
    }
}
