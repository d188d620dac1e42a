//! Under which keys apps have sent what is not yet answered.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use vocabulary::SourceId;

use super::Refusal;

/// The requests of apps that this process works on.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    keys: Mutex<HashSet<(SourceId, String)>>,
}

/// A key that is in use until this is dropped.
pub(super) struct KeyInUse<'a> {
    keys: &'a Mutex<HashSet<(SourceId, String)>>,
    key: (SourceId, String),
}

impl UnderWay {
    /// Takes a key, unless a request under it is under way here. Nothing rests on it: the queue keeps a request from being
    /// enqueued twice. It spares us the body of a client that repeats itself while Redis is slow.
    pub(super) fn take_key(&self, source: &SourceId, key: &str) -> Result<KeyInUse<'_>, Refusal> {
        let key = (source.clone(), key.to_owned());
        if lock(&self.keys).insert(key.clone()) {
            Ok(KeyInUse { keys: &self.keys, key })
        } else {
            Err(Refusal::KeyUnderWay)
        }
    }
}

impl Drop for KeyInUse<'_> {
    fn drop(&mut self) {
        lock(self.keys).remove(&self.key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_use_once_in_each_source_and_free_again_afterwards() {
        let (under_way, [a, b]) = (UnderWay::default(), ["a", "b"].map(|id| id.parse::<SourceId>().unwrap()));

        let first = under_way.take_key(&a, "k").ok().unwrap();

        assert_eq!(under_way.take_key(&a, "k").err(), Some(Refusal::KeyUnderWay));
        assert!(under_way.take_key(&b, "k").is_ok() && under_way.take_key(&a, "l").is_ok());
        drop(first);
        assert!(under_way.take_key(&a, "k").is_ok());
    }
}
