//! Whose handlers are slow, as far as this process has seen.
//!
//! A source is slow for half a minute after a call for one of its events took longer than a fifth of the budget. What is
//! of it then has transactions of its own, after all others of its group, and **all slow sources have one lane between
//! them**: who finds it taken comes later. So the other lanes are the others'. Until it is known the others pay: once in
//! half a minute, for one call of each slow source.
//!
//! An event is slow that has overrun its deadline. It has a transaction of its own, and is refused when it overruns there
//! too.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use vocabulary::{KeyHash, SourceId};

use crate::{
    pieces::{At, Limits, Piece, chunks},
    unpack::Work,
};

/// Long enough that what the others pay is little; and a source that was slow because Postgres was may be so once more.
const REMEMBERED: Duration = Duration::from_secs(30);

/// When more events than this were slow, all of them are forgotten: each is slow beside others once more.
const EVENTS: usize = 10_000;

/// What is known of slowness.
#[derive(Debug)]
pub(crate) struct Slow {
    budget: Duration,
    known: Mutex<Known>,
    lane: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Known {
    /// Events that have overrun their deadline once.
    events: HashSet<KeyHash>,
    /// When a source was slow last, and how long that call took.
    sources: HashMap<SourceId, (Instant, Duration)>,
}

/// Held by who works on what is slow.
#[derive(Debug)]
#[expect(dead_code, reason = "held, not read")]
pub(crate) struct SlowLane(OwnedSemaphorePermit);

impl Slow {
    pub(crate) fn new(budget: Duration) -> Self {
        Self { budget, known: Mutex::default(), lane: Arc::new(Semaphore::new(1)) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane, unless somebody has it.
    pub(crate) fn lane(&self) -> Option<SlowLane> {
        self.lane.clone().try_acquire_owned().ok().map(SlowLane)
    }

    /// A call has taken so long. Says whether that is slow.
    pub(crate) fn took(&self, source: &SourceId, took: Duration, now: Instant) -> bool {
        if took <= self.budget / 5 {
            return false;
        }
        let mut known = self.known();
        known.sources.retain(|_, (last, _)| now.duration_since(*last) < REMEMBERED);
        known.sources.insert(source.clone(), (now, took));
        true
    }

    /// An event has overrun its deadline. Says whether it had done so before; then it is forgotten.
    pub(crate) fn overran(&self, hash: KeyHash) -> bool {
        let mut known = self.known();
        if known.events.remove(&hash) {
            return true;
        }
        if known.events.len() >= EVENTS {
            known.events.clear();
        }
        known.events.insert(hash);
        false
    }

    /// Takes out of a transaction what is slow.
    pub(crate) fn take(&self, works: &[Work], chunk: &mut Vec<Piece>, now: Instant) -> Vec<Piece> {
        let known = self.known();
        if known.sources.is_empty() && known.events.is_empty() {
            return Vec::new();
        }
        let is_slow = |piece: &mut Piece| {
            let Piece::Key { hash, places, .. } = piece else { return false };
            let last = known.sources.get(source(works, places)).map(|(last, _)| *last);
            known.events.contains(hash) || last.is_some_and(|last| now.duration_since(last) < REMEMBERED)
        };
        chunk.extract_if(.., is_slow).collect()
    }

    /// Cuts what is slow into transactions: one source in each, with as many events as are within the budget; and what has
    /// overrun its deadline alone, in the end.
    pub(crate) fn cut(&self, works: &[Work], pieces: Vec<Piece>, limits: Limits) -> Vec<Vec<Piece>> {
        let mut by_source: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let (mut others, mut alone) = (Vec::new(), Vec::new());
        let known = self.known();
        for piece in pieces {
            match &piece {
                Piece::Key { hash, .. } if known.events.contains(hash) => alone.push(vec![piece]),
                Piece::Key { places, .. } => by_source.entry(source(works, places)).or_default().push(piece),
                Piece::Rejection(_) | Piece::Empty { .. } => others.push(piece),
            }
        }
        let mut todo = chunks(works, others, limits);
        for (source, pieces) in by_source {
            let took = known.sources.get(source).map_or(self.budget, |(_, took)| *took);
            let items = usize::try_from(self.budget.as_nanos() / took.as_nanos().max(1)).unwrap_or(1).max(1);
            todo.extend(chunks(works, pieces, Limits { new: items.min(limits.new), ..limits }));
        }
        todo.extend(alone);
        todo
    }
}

/// Where the items of a key are from: the key is one within its source.
fn source<'a>(works: &'a [Work], places: &[At]) -> &'a SourceId {
    let first = places[0];
    &works[first.job].raw_events[first.raw].raw_event.source_id
}
