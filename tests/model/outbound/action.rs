//! What can happen next, in the outbound half.

use super::{
    Outbound,
    flaw::Flaw,
    state::{DISPATCHERS, Delivery, Dispatcher, Lease, State},
};

/// One indivisible step: a statement of Postgres, a request, or a mishap. First who.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// The inbound half commits the event with its delivery.
    Commit,
    Lease(usize),
    /// One attempt. That its lease has ended does not keep it back: its process may have been paused after the look at it.
    Send {
        dispatcher: usize,
        received: bool,
        answered: bool,
    },
    /// The lease was seen to have ended, or the process stops: nothing is sent.
    GiveBack(usize),
    /// An attempt and what follows; after a failure, that it is given up or that it is due again.
    Record {
        dispatcher: usize,
        gives_up: bool,
    },
    /// The same, but the server's word that it has committed is lost: the recorder insists.
    RecordUnheard {
        dispatcher: usize,
        gives_up: bool,
    },
    LeaseEnds(usize),
    /// The lease of one that has died ends.
    LeaseOfTheDeadEnds,
    Crash(usize),
    /// A person wants it sent again.
    AskAgain,
    /// A person gives it up.
    GiveUp,
    /// The message is edited after the commit.
    Edit,
    /// Postgres comes back without the commit.
    Forget,
}

impl Outbound {
    /// Everything that can happen now.
    pub(super) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        let is_free = matches!(state.due, Some(Lease::None | Lease::Ended(_)));
        let is_premature = self.has(Flaw::SendsUncommitted) && state.delivery == Delivery::Absent;
        if state.delivery == Delivery::Absent {
            actions.push(Action::Commit);
        }
        if state.due == Some(Lease::OfTheDead) {
            actions.push(Action::LeaseOfTheDeadEnds);
        }
        for dispatcher in 0..DISPATCHERS {
            match state.dispatchers[dispatcher] {
                Dispatcher::Idle => actions.extend((is_free || is_premature).then_some(Action::Lease(dispatcher))),
                Dispatcher::Leased { .. } => {
                    let outcomes = [(true, true), (true, false), (false, false)];
                    actions.extend(outcomes.map(|(received, answered)| Action::Send {
                        dispatcher,
                        received,
                        answered,
                    }));
                    actions.push(Action::GiveBack(dispatcher));
                }
                Dispatcher::Answered { delivered, .. } => {
                    for gives_up in if delivered { &[false][..] } else { &[false, true] } {
                        actions.push(Action::Record { dispatcher, gives_up: *gives_up });
                        actions.push(Action::RecordUnheard { dispatcher, gives_up: *gives_up });
                    }
                }
            }
            actions.extend((state.dispatchers[dispatcher] != Dispatcher::Idle).then_some(Action::Crash(dispatcher)));
            actions.extend(state.holders[dispatcher].then_some(Action::LeaseEnds(dispatcher)));
        }
        if state.delivery == Delivery::Abandoned || state.delivery == Delivery::Pending && is_free {
            actions.push(Action::AskAgain);
        }
        if state.delivery == Delivery::Pending && is_free {
            actions.push(Action::GiveUp);
        }
        if state.delivery != Delivery::Absent {
            actions.extend((!state.edited).then_some(Action::Edit));
            actions.extend((!state.again).then_some(Action::Forget));
        }
    }

    /// What happens next when nothing goes wrong any more, and a person sees what was given up.
    pub(super) fn calm_step(&self, state: &State) -> Option<Action> {
        let mut actions = Vec::new();
        self.possible(state, &mut actions);
        let is_busy = |dispatcher: usize| state.dispatchers[dispatcher] != Dispatcher::Idle;
        let is_calm = |action: &Action| match *action {
            Action::Commit | Action::Record { .. } | Action::LeaseOfTheDeadEnds => true,
            Action::Send { answered, .. } => answered,
            Action::Lease(_) => !(0..DISPATCHERS).any(is_busy),
            Action::AskAgain => state.delivery == Delivery::Abandoned,
            _ => false,
        };
        actions.into_iter().find(is_calm)
    }
}
