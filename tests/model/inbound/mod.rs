//! The inbound half: from a raw event in the queue to its events in the ledger, with what they owe.
//!
//! | here | in the code |
//! |---|---|
//! | `Fetch`, `GiveBack`, `TakeAway`, `Recover` | `fetch.lua`, `settle.lua`, `defer.lua`, `recover.lua` of `queue` |
//! | `Take`, `Renew`, `Release`, `Finish`, `Expire…` | `queue::Claims`: `take.lua`, `renew.lua`, `release.lua`, `finish.lua` |
//! | `Enter`, `IsThere`, `Commit`, `RollBack` | `worker::transaction`, with `worker::group` around it |

mod action;
mod flaw;
pub(crate) mod promise;
mod state;
mod step;
mod symmetry;

use stateright::{Model, Property};

use action::Action;
pub(crate) use flaw::Flaw;
use state::{RAW_EVENTS, State};

/// The protocol, of a size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inbound {
    /// The keys of each raw event, sorted.
    pub raw_events: [&'static [usize]; RAW_EVENTS],
    /// How much goes wrong; `None`: anything, any number of times.
    pub mishaps: Option<u8>,
    /// Made on purpose.
    pub flaws: &'static [Flaw],
}

/// Two deliveries of one item.
pub(crate) const ONE_KEY: [&[usize]; RAW_EVENTS] = [&[0], &[0]];

/// A raw event of two items, and a duplicate of one of them.
pub(crate) const SHARED_KEY: [&[usize]; RAW_EVENTS] = [&[0, 1], &[0]];

impl Inbound {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaws.contains(&flaw)
    }
}

impl Model for Inbound {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::beginning(self.mishaps)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.apply(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promise::all()
    }
}
