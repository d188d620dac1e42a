//! What a group has still to commit, one transaction at a time. Where an app's handler runs, what is slow comes last, and in
//! the one lane that it has (see `slow`).

use std::{mem::take, time::Duration};

use tokio::time::Instant;

use crate::{
    group::Bench,
    handling::Handling,
    pieces::{Piece, chunks, defer},
    slow::SlowLane,
    unpack::Work,
};

/// How long a group may take where handlers are slow: others wait for the lane.
const LONGEST: Duration = Duration::from_secs(5);

/// The transactions that a group is made of.
pub(crate) struct Todo<'a> {
    bench: &'a Bench,
    /// The last comes first.
    chunks: Vec<Vec<Piece>>,
    /// What was found to be slow.
    slow: Vec<Piece>,
    /// Held once nothing else is left.
    lane: Option<SlowLane>,
    ends: Instant,
}

impl<'a> Todo<'a> {
    pub(crate) fn new(bench: &'a Bench, works: &[Work], pieces: Vec<Piece>) -> Self {
        let mut chunks = match &bench.handling {
            None => chunks(works, pieces, bench.limits),
            Some(_) => vec![pieces],
        };
        chunks.reverse();
        Self { bench, chunks, slow: Vec::new(), lane: None, ends: Instant::now() + LONGEST.min(bench.lease / 2) }
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.slow.is_empty()
    }

    /// What is to be tried again, the last first.
    pub(crate) fn put_back(&mut self, chunks: impl IntoIterator<Item = Vec<Piece>>) {
        self.chunks.extend(chunks);
    }

    /// Puts off all that is left.
    pub(crate) fn defer(&mut self, works: &mut [Work]) {
        self.chunks.push(take(&mut self.slow));
        self.chunks.drain(..).for_each(|chunk| defer(works, &chunk));
    }

    /// The next transaction. What handlers have left no time for, and what is slow while others have the lane, is put off.
    pub(crate) fn next(&mut self, works: &mut [Work]) -> Option<Vec<Piece>> {
        let Some(handling) = &self.bench.handling else { return self.chunks.pop() };
        while !self.is_empty() && Instant::now() < self.ends {
            let Some(chunk) = self.chunks.pop() else {
                self.lane = handling.slow.lane();
                if self.lane.is_none() {
                    break;
                }
                self.chunks.push(take(&mut self.slow));
                continue;
            };
            let first = self.fit(works, chunk, handling);
            if first.is_some() {
                return first;
            }
        }
        self.defer(works);
        None
    }

    /// The first part of a chunk that fits into one transaction, as far as is known by now. The rest is put back.
    fn fit(&mut self, works: &[Work], mut chunk: Vec<Piece>, handling: &Handling) -> Option<Vec<Piece>> {
        let mut parts = if self.lane.is_some() {
            handling.slow.cut(works, chunk, self.bench.limits)
        } else {
            self.slow.extend(handling.slow.take(works, &mut chunk, Instant::now()));
            chunks(works, chunk, handling.limits(self.bench.limits))
        };
        parts.retain(|part| !part.is_empty());
        parts.reverse();
        let first = parts.pop();
        self.put_back(parts);
        first
    }
}
