//! What an action does, as the statements of `database` do it.

use super::{
    Outbound,
    action::Action,
    flaw::Flaw,
    state::{Delivery, Dispatcher, Lease, State},
};

impl Outbound {
    pub(super) fn apply(&self, state: &mut State, action: Action) {
        match action {
            Action::Commit => state.owe(),
            Action::Lease(dispatcher) => self.lease(state, dispatcher),
            Action::Send { dispatcher, received, answered } => self.send(state, dispatcher, received, answered),
            Action::GiveBack(dispatcher) => state.give_back(dispatcher),
            Action::Record { dispatcher, gives_up } => {
                self.record(state, dispatcher, gives_up);
                state.dispatchers[dispatcher] = Dispatcher::Idle;
            }
            Action::RecordUnheard { dispatcher, gives_up } => self.record(state, dispatcher, gives_up),
            Action::LeaseEnds(dispatcher) => state.end_lease(dispatcher),
            Action::LeaseOfTheDeadEnds => state.due = Some(Lease::None),
            Action::Crash(dispatcher) => state.crash(dispatcher),
            Action::AskAgain => state.owe(),
            Action::GiveUp => (state.delivery, state.due) = (Delivery::Abandoned, None),
            Action::Edit => state.edited = true,
            Action::Forget => state.forget(),
        }
    }

    fn lease(&self, state: &mut State, dispatcher: usize) {
        state.dispatchers[dispatcher] = Dispatcher::Leased { stale: false };
        state.holders[dispatcher] = true;
        state.due = state.due.map(|_| Lease::Of(dispatcher));
        if self.has(Flaw::TakesInsteadOfLeasing) {
            state.due = None;
        }
        if self.has(Flaw::RecordsBeforeSending) {
            (state.delivery, state.due) = (Delivery::Delivered, None);
        }
    }

    fn send(&self, state: &mut State, dispatcher: usize, received: bool, answered: bool) {
        let Dispatcher::Leased { stale } = state.dispatchers[dispatcher] else { return };
        state.dispatchers[dispatcher] = Dispatcher::Answered { delivered: answered, recorded: false, stale };
        if !received {
            return;
        }
        let id = match () {
            () if self.has(Flaw::IdOfTheAttempt) => state.customer.requests,
            () if self.has(Flaw::IdOfTheRow) => u8::from(state.again && !stale),
            () => 0,
        };
        state.customer.ids |= 1 << id;
        if !stale {
            state.customer.bodies |= 1 << u8::from(self.has(Flaw::BodyMadeWhenSent) && state.edited);
        }
        state.customer.requests = (state.customer.requests + 1).min(2);
    }

    /// An attempt that is already there changes nothing, a success always counts, a failure only under the lease that is still
    /// the current one.
    fn record(&self, state: &mut State, dispatcher: usize, gives_up: bool) {
        let Dispatcher::Answered { delivered, recorded, stale } = state.dispatchers[dispatcher] else { return };
        state.dispatchers[dispatcher] = Dispatcher::Answered { delivered, recorded: true, stale };
        if recorded || stale {
            return;
        }
        let is_current = state.is_current(dispatcher);
        state.holders[dispatcher] = false;
        state.succeeded |= delivered;
        if delivered && (is_current || !self.has(Flaw::LateSuccessIsLost)) {
            (state.delivery, state.due) = (Delivery::Delivered, None);
        }
        let is_due = state.due.is_some() || self.has(Flaw::TakesInsteadOfLeasing);
        let counts =
            is_current || is_due && (self.has(Flaw::LateFailureCounts) || self.has(Flaw::TakesInsteadOfLeasing));
        if !delivered && counts {
            (state.delivery, state.due) =
                if gives_up { (Delivery::Abandoned, None) } else { (Delivery::Pending, Some(Lease::None)) };
        }
    }
}

impl State {
    /// Pending, and due at once.
    fn owe(&mut self) {
        (self.delivery, self.due) = (Delivery::Pending, Some(Lease::None));
    }

    fn give_back(&mut self, dispatcher: usize) {
        if self.is_current(dispatcher) {
            self.due = Some(Lease::None);
        }
        self.dispatchers[dispatcher] = Dispatcher::Idle;
        self.holders[dispatcher] = false;
    }

    fn end_lease(&mut self, dispatcher: usize) {
        self.holders[dispatcher] = false;
        if self.due == Some(Lease::Of(dispatcher)) {
            self.due = Some(Lease::Ended(dispatcher));
        }
    }

    fn crash(&mut self, dispatcher: usize) {
        self.due = match self.due {
            Some(Lease::Of(it)) if it == dispatcher => Some(Lease::OfTheDead),
            Some(Lease::Ended(it)) if it == dispatcher => Some(Lease::None),
            due => due,
        };
        self.dispatchers[dispatcher] = Dispatcher::Idle;
        self.holders[dispatcher] = false;
    }

    /// The delivery is gone. Its event will be recorded again, from a duplicate, as another row.
    fn forget(&mut self) {
        for dispatcher in &mut self.dispatchers {
            match dispatcher {
                Dispatcher::Leased { stale } | Dispatcher::Answered { stale, .. } => *stale = true,
                Dispatcher::Idle => {}
            }
        }
        (self.delivery, self.due) = (Delivery::Absent, None);
        self.holders = Default::default();
        (self.again, self.succeeded, self.customer.bodies) = (true, false, 0);
    }
}
