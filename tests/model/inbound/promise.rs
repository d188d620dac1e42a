//! What must be true at every moment, and what must happen at some: a model that never gets into trouble shows nothing.

use stateright::Property;

use super::{
    Inbound,
    state::{Claim, Item, KEYS, Place, Run, Said, State, Token, WORKERS},
};

/// Promise 1.
pub(crate) const RECORDED_ONCE: &str = "a key is recorded at most once";
/// Promise 2.
pub(crate) const NOTHING_DROPPED: &str = "what is acknowledged is in the ledger";
/// Promise 3.
pub(crate) const TOLD_IF_TRUE: &str = "what is owed is recorded";
/// Promise 3.
pub(crate) const TRUE_IS_TOLD: &str = "what is recorded is owed";
/// Promise 2.
pub(crate) const NO_DEAD_END: &str = "it stops only when all is well";
/// Promise 2.
pub(crate) const ENDS_WELL: &str = "whatever happened, all can still end well";
/// Economy.
pub(crate) const ONE_HOLDER: &str = "a claim has at most one holder";
/// Economy.
pub(crate) const DONE_IS_TRUE: &str = "done is written after COMMIT only";

pub(super) fn all() -> Vec<Property<Inbound>> {
    type Moment = fn(&Inbound, &State) -> bool;
    let always: [(&'static str, Moment); 8] = [
        (RECORDED_ONCE, |_, state| state.ledger.iter().all(|times| *times <= 1)),
        (NOTHING_DROPPED, |model, state| model.has_dropped_nothing(state)),
        (TOLD_IF_TRUE, |_, state| (0..KEYS).all(|key| state.owed[key] <= state.ledger[key])),
        (TRUE_IS_TOLD, |_, state| (0..KEYS).all(|key| state.ledger[key] <= state.owed[key])),
        (NO_DEAD_END, |model, state| model.is_good_end(state) || model.goes_on(state)),
        (ENDS_WELL, |model, state| model.can_end_well(state)),
        (ONE_HOLDER, |_, state| {
            state.holders.iter().all(|holders| holders.iter().filter(|holds| **holds).count() <= 1)
        }),
        (DONE_IS_TRUE, |_, state| !state.done_too_early),
    ];
    // Of a step that is possible in a state that was reached it is enough to say that it is about to be taken.
    let sometimes: [(&'static str, Moment); 8] = [
        ("all is well in the end", |model, state| model.is_good_end(state)),
        ("another worker holds the claim", |_, state| {
            state.any_item(|item, claim| {
                item == Item::Unasked && matches!(claim, Claim::Held(Token { run: Run::Of(_), .. }))
            })
        }),
        ("a claim is about to be taken over", |model, state| {
            model.any_asked(state, |found, ours| matches!(found, Claim::Held(token) if token.raw_event == ours))
        }),
        ("a claim is there whose run has lost its lease", |model, state| {
            (0..KEYS).any(|key| state.claims[key] != Claim::Absent && state.found(key) == Claim::Absent)
                && model.any_asked(state, |found, _| found == Claim::Absent)
        }),
        ("done is found and false", |_, state| {
            (0..KEYS).any(|key| {
                let asks = state.workers.iter().any(|worker| worker.items[key] == Item::Unasked);
                asks && state.found(key) == Claim::Done && state.ledger[key] == 0
            })
        }),
        ("the ledger stops what the claim let through", |_, state| {
            (0..KEYS).any(|key| {
                state.ledger[key] > 0
                    && state.workers.iter().any(|worker| worker.items[key] == Item::Claimed(Said::Ours))
            })
        }),
        ("a worker waits for a COMMIT that nobody will hear of", |_, state| {
            (0..KEYS).any(|key| {
                let waits = state.workers.iter().any(|worker| matches!(worker.items[key], Item::Claimed(_)));
                waits && state.orphans.iter().any(|orphan| orphan.committing && orphan.keys[key])
            })
        }),
        ("a raw event is recorded by a worker from which it was taken away", |_, state| {
            let recorded = |worker: usize| state.workers[worker].items.contains(&Item::Recorded);
            (0..state.workers.len()).any(|worker| recorded(worker) && !state.places.contains(&Place::With(worker)))
        }),
    ];
    let always = always.map(|(name, condition)| Property::always(name, condition));
    let sometimes = sometimes.map(|(name, condition)| Property::sometimes(name, condition));
    always.into_iter().chain(sometimes).collect()
}

impl Inbound {
    fn has_dropped_nothing(&self, state: &State) -> bool {
        let acknowledged = self.raw_events.iter().zip(state.places).filter(|(_, place)| *place == Place::Settled);
        acknowledged.flat_map(|(keys, _)| keys.iter()).all(|key| state.ledger[*key] > 0)
    }

    /// Every raw event is acknowledged, every key recorded once and owed once.
    fn is_good_end(&self, state: &State) -> bool {
        let mut keys = self.raw_events.iter().copied().flatten();
        state.places.iter().all(|place| *place == Place::Settled)
            && keys.all(|key| (state.ledger[*key], state.owed[*key]) == (1, 1))
    }

    /// Whether somebody asks for a claim next that is such: what is found, and the raw event that asks.
    fn any_asked(&self, state: &State, such: impl Fn(Claim, usize) -> bool) -> bool {
        let asks = |worker: usize, key: usize| match self.token(state, worker, key) {
            Claim::Held(ours) if state.workers[worker].items[key] == Item::Unasked => {
                such(state.found(key), ours.raw_event)
            }
            _ => false,
        };
        (0..WORKERS).any(|worker| (0..KEYS).any(|key| asks(worker, key)))
    }

    fn goes_on(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        self.possible(state, &mut actions);
        !actions.is_empty()
    }

    /// Nothing goes wrong from here on, and everything ends well. Far fewer steps than a hundred: who needs so many goes in
    /// circles.
    fn can_end_well(&self, state: &State) -> bool {
        let mut state = state.clone();
        for _ in 0..100 {
            let Some(action) = self.calm_step(&state) else { return self.is_good_end(&state) };
            self.apply(&mut state, action);
        }
        false
    }
}

impl State {
    fn any_item(&self, wanted: impl Fn(Item, Claim) -> bool) -> bool {
        let found = |key: usize| self.found(key);
        self.workers.iter().any(|worker| (0..KEYS).any(|key| wanted(worker.items[key], found(key))))
    }
}
