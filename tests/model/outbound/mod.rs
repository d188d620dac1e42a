//! The outbound half: one delivery, from the commit that owes it to the customer.
//!
//! It may stand alone because the halves share nothing but the committed row: the inbound half is shown to commit it with its
//! event or not at all, and this half never writes what the other reads. One delivery is enough because what becomes of it
//! depends on no other; which goes first does, and is not looked at here.
//!
//! | here | in the code |
//! |---|---|
//! | `Lease`, `LeaseEnds` | `database::due::lease` |
//! | `Send`, `GiveBack` | `send` and `Dispatcher::release` in `dispatcher` |
//! | `Record` | `database::attempts::record`, insisted on by the recorder |
//! | `AskAgain` | `database::deliveries::make_due` |
//! | `GiveUp` | `database::deliveries::abandon` |

mod action;
mod flaw;
pub(crate) mod promise;
mod state;
mod step;

use stateright::{Model, Property};

use action::Action;
pub(crate) use flaw::Flaw;
use state::State;

/// The protocol, with two dispatchers; anything goes wrong, any number of times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outbound {
    /// Made on purpose.
    pub flaws: &'static [Flaw],
}

impl Outbound {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaws.contains(&flaw)
    }
}

impl Model for Outbound {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
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
