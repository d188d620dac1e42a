//! Has stateright go through every state that a model can get into.

use std::{
    collections::BTreeSet,
    hash::Hash,
    time::{Duration, Instant},
};

use stateright::{Checker, Expectation, Model};

/// What the checker has found.
#[derive(Debug)]
pub(crate) struct Findings {
    /// States that differ.
    pub states: usize,
    /// Ways from one to the next.
    pub steps: usize,
    /// Of the longest of the shortest ways to a state.
    pub depth: usize,
    pub time: Duration,
    /// What should always be so, and isn't.
    pub broken: BTreeSet<&'static str>,
    /// What should happen sometimes, and never does.
    pub unreached: BTreeSet<&'static str>,
}

/// All states. By one thread, so that every run finds the same, in the same order.
pub(crate) fn explore<M>(model: M) -> Findings
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Send + Sync + Clone + PartialEq + 'static,
    M::Action: Clone + PartialEq,
{
    let started = Instant::now();
    let checker = model.checker().spawn_bfs().join();
    assert!(checker.is_done(), "states were left out");
    let found: BTreeSet<_> = checker.discoveries().into_keys().collect();
    let named = |wanted: &dyn Fn(&Expectation) -> bool| -> BTreeSet<_> {
        let properties = checker.model().properties();
        properties.into_iter().filter(|property| wanted(&property.expectation)).map(|property| property.name).collect()
    };
    Findings {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        time: started.elapsed(),
        broken: &named(&Expectation::discovery_is_failure) & &found,
        unreached: &named(&|expectation| *expectation == Expectation::Sometimes) - &found,
    }
}

/// A shortest way to break the only promise that a model makes, each step with the state that it is taken in; `None`: there
/// is no way.
///
/// Only with one promise: with several the checker goes on after the first, and keeps the last way that it has found.
pub(crate) fn shortest<M>(model: M) -> Option<Vec<(M::State, M::Action)>>
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Send + Sync + Clone + PartialEq + 'static,
    M::Action: Clone + PartialEq,
{
    let checker = model.checker().spawn_bfs().join();
    let way = checker.discoveries().into_values().next()?;
    Some(way.into_vec().into_iter().filter_map(|(state, action)| Some((state, action?))).collect())
}
