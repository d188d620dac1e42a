//! What is not to be done again for a while, by whom or what it is about.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// When each pause ends. Those that have ended are forgotten.
#[derive(Debug)]
pub(crate) struct Pauses<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Pauses<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Pauses<K> {
    /// Begins a pause at `now`, unless one lasts: that one ends when it said. Says whether it has begun.
    pub(crate) fn begin(&self, what: K, now: Instant, pause: Duration) -> bool {
        match self.lasting(now).entry(what) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(now + pause);
                true
            }
        }
    }

    /// Those that last at `now`.
    pub(crate) fn lasting(&self, now: Instant) -> MutexGuard<'_, HashMap<K, Instant>> {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.retain(|_, until| now < *until);
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(60);

    #[test]
    fn a_pause_ends_when_it_said_and_is_nobody_elses() {
        let (pauses, now) = (Pauses::default(), Instant::now());
        let just_before = now + PAUSE - Duration::from_millis(1);

        let begun = [("acme", now), ("acme", just_before), ("other", just_before), ("acme", now + PAUSE)]
            .map(|(account, at)| pauses.begin(account, at, PAUSE));

        assert_eq!(begun, [true, false, true, true]);
    }
}
