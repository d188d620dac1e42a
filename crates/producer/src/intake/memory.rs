//! The memory that bodies take, from their first byte until Redis has them: how much of it is whose.
//!
//! It is taken as bytes arrive, not as they are announced, so that whoever is to be in the way has to send what he holds.
//! Signatures can only be checked on whole bodies, so strangers can fill a part of it; a token is checked before. Nobody
//! fills all of it: apps have half at most, of which each source has what it may have on its way to Redis; at the providers'
//! door a source has a quarter at most.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use vocabulary::SourceId;

use super::Refusal;

/// Who sends a body, and at which door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sender {
    Provider,
    App,
}

/// The bodies in memory.
#[derive(Debug)]
pub(super) struct Memory {
    most: usize,
    most_of_an_app: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    apps: usize,
    sources: HashMap<(Sender, SourceId), usize>,
}

/// What one body takes, until this is dropped.
#[derive(Debug)]
pub(super) struct Share<'a> {
    memory: &'a Memory,
    whose: (Sender, SourceId),
    bytes: usize,
}

impl Memory {
    /// So many bytes in all, and for the apps of one source.
    pub(super) fn new(most: usize, most_of_an_app: usize) -> Self {
        Self { most, most_of_an_app, held: Mutex::default() }
    }

    /// The share of a body of which nothing is there yet.
    pub(super) fn share(&self, sender: Sender, source: &SourceId) -> Share<'_> {
        Share { memory: self, whose: (sender, source.clone()), bytes: 0 }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share<'_> {
    /// Takes more. A refusal gives back what it had, in the same step: of two that are in each other's way one goes on.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        let mut held = self.memory.held();
        let refusal = self.refusal(&held, bytes);
        if let Some(refusal) = refusal {
            self.give_back(&mut held);
            return Err(refusal);
        }
        held.all += bytes;
        held.apps += if self.whose.0 == Sender::App { bytes } else { 0 };
        *held.sources.entry(self.whose.clone()).or_default() += bytes;
        self.bytes += bytes;
        Ok(())
    }

    fn refusal(&self, held: &Held, bytes: usize) -> Option<Refusal> {
        let Memory { most, most_of_an_app, .. } = *self.memory;
        let of_source = held.sources.get(&self.whose).copied().unwrap_or(0);
        // A body that is alone always passes: what is too large for one has been refused already.
        let is_alone = of_source == self.bytes;
        let is_above = |most: usize| !is_alone && of_source + bytes > most;
        match self.whose.0 {
            Sender::App if is_above(most_of_an_app) => Some(Refusal::TooMuch),
            Sender::App if held.apps > self.bytes && held.apps + bytes > most / 2 => Some(Refusal::Busy),
            Sender::Provider if is_above(most / 4) => Some(Refusal::Busy),
            _ => (held.all + bytes > most).then_some(Refusal::Busy),
        }
    }

    fn give_back(&mut self, held: &mut Held) {
        held.all -= self.bytes;
        held.apps -= if self.whose.0 == Sender::App { self.bytes } else { 0 };
        if let Some(of_source) = held.sources.get_mut(&self.whose) {
            *of_source -= self.bytes;
            if *of_source == 0 {
                held.sources.remove(&self.whose);
            }
        }
        self.bytes = 0;
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut held = self.memory.held();
        self.give_back(&mut held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> [SourceId; 4] {
        ["a", "b", "c", "d"].map(|id| id.parse().unwrap())
    }

    fn taken<'a>(memory: &'a Memory, sender: Sender, source: &SourceId, bytes: usize) -> Result<Share<'a>, Refusal> {
        let mut share = memory.share(sender, source);
        share.take(bytes).map(|()| share)
    }

    #[test]
    fn the_apps_of_a_source_hold_so_many_bytes_and_no_other_source_is_concerned() {
        let (memory, [a, b, ..]) = (Memory::new(10_000, 100), sources());

        let first = taken(&memory, Sender::App, &a, 200).unwrap();

        assert_eq!(taken(&memory, Sender::App, &a, 1).err(), Some(Refusal::TooMuch));
        let _second = taken(&memory, Sender::App, &b, 60).unwrap();
        let _third = taken(&memory, Sender::App, &b, 40).unwrap();
        assert_eq!(taken(&memory, Sender::App, &b, 1).err(), Some(Refusal::TooMuch));
        drop(first);
        assert!(taken(&memory, Sender::App, &a, 1).is_ok());
        assert_eq!(memory.held().sources.len(), 1, "who holds nothing takes no memory");
    }

    #[test]
    fn of_two_bodies_that_are_in_each_others_way_the_one_that_is_refused_makes_room_at_once() {
        let (memory, [a, ..]) = (Memory::new(10_000, 100), sources());
        let (mut one, mut other) = (memory.share(Sender::App, &a), memory.share(Sender::App, &a));
        let half = (one.take(50), other.take(50));

        let refused = one.take(1);

        assert_eq!((half, refused, other.take(150)), ((Ok(()), Ok(())), Err(Refusal::TooMuch), Ok(())));
    }

    #[test]
    fn apps_and_the_provider_of_one_source_leave_room_for_the_other_providers() {
        let (memory, [a, b, c, d]) = (Memory::new(400, 100), sources());
        let _apps = [&a, &b].map(|source| taken(&memory, Sender::App, source, 100).unwrap());
        let _provider = [60, 40].map(|bytes| taken(&memory, Sender::Provider, &a, bytes).unwrap());

        let refused =
            [(Sender::App, &c), (Sender::Provider, &a)].map(|(sender, source)| taken(&memory, sender, source, 1).err());

        assert_eq!(refused, [Some(Refusal::Busy); 2]);
        let _others = [&c, &d].map(|source| taken(&memory, Sender::Provider, source, 50).unwrap());
        assert_eq!(taken(&memory, Sender::Provider, &b, 1).err(), Some(Refusal::Busy), "that was all");
    }
}
