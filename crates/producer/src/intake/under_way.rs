//! What apps have sent and not yet been answered: which keys, and how many bytes of each source.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use vocabulary::SourceId;

use super::Refusal;

/// The requests of apps that this process works on.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    keys: Mutex<HashSet<(SourceId, String)>>,
    bytes: Mutex<HashMap<SourceId, usize>>,
}

/// A key that is in use until this is dropped.
pub(super) struct KeyInUse<'a> {
    keys: &'a Mutex<HashSet<(SourceId, String)>>,
    key: (SourceId, String),
}

/// Bytes that a source holds until this is dropped.
pub(super) struct Share<'a> {
    shares: &'a Mutex<HashMap<SourceId, usize>>,
    source: SourceId,
    bytes: usize,
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

    /// Takes bytes of what a source may hold.
    pub(super) fn take_bytes(&self, source: &SourceId, bytes: usize, most: usize) -> Result<Share<'_>, Refusal> {
        let mut held = lock(&self.bytes);
        let before = held.get(source).copied().unwrap_or(0);
        // A request that is alone always passes: what is too large for one has been refused already.
        if before > 0 && before + bytes > most {
            return Err(Refusal::TooMuch);
        }
        held.insert(source.clone(), before + bytes);
        Ok(Share { shares: &self.bytes, source: source.clone(), bytes })
    }
}

impl Drop for KeyInUse<'_> {
    fn drop(&mut self) {
        lock(self.keys).remove(&self.key);
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut held = lock(self.shares);
        let left = held.get(&self.source).map_or(0, |held| held.saturating_sub(self.bytes));
        if left == 0 {
            held.remove(&self.source)
        } else {
            held.insert(self.source.clone(), left)
        };
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

    #[test]
    fn a_source_holds_so_many_bytes_and_no_other_source_is_concerned() {
        let (under_way, [a, b]) = (UnderWay::default(), ["a", "b"].map(|id| id.parse::<SourceId>().unwrap()));

        let first = under_way.take_bytes(&a, 200, 100).ok().unwrap();

        assert_eq!(under_way.take_bytes(&a, 1, 100).err(), Some(Refusal::TooMuch));
        let _second = under_way.take_bytes(&b, 60, 100).ok().unwrap();
        let _third = under_way.take_bytes(&b, 40, 100).ok().unwrap();
        assert_eq!(under_way.take_bytes(&b, 1, 100).err(), Some(Refusal::TooMuch));
        drop(first);
        assert!(under_way.take_bytes(&a, 1, 100).is_ok());
        assert_eq!(lock(&under_way.bytes).len(), 1, "who holds nothing takes no memory");
    }
}
