//! What is on the desk: places, what waits in them, and whose turn it is. Knows no time but what it is told, and no permit but
//! what it is given.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use database::due::{LARGEST_BROUGHT, Leased};
use tokio::time::Instant;
use vocabulary::EndpointId;

use crate::{fairness::share, in_flight::Full};

const BYTES: usize = 16 << 20;
/// Of one delivery: it is in memory for as long as its customer takes, and as many as there are permits.
const LARGEST: usize = LARGEST_BROUGHT as usize;
/// While customers answer at least this often a worker waits; at most so long in all, and for one of them.
pub(super) const MOVES_WITHIN: Duration = Duration::from_millis(20);
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(super) struct Waiting {
    /// Places in all.
    limit: usize,
    /// Nothing is taken any more.
    pub(super) is_cleared: bool,
    /// Nothing is sent just now.
    pub(super) is_held: bool,
    /// There was nothing to lease, so no permits need to be left for that.
    pub(super) has_all_permits: bool,
    /// As much is due as can be sent.
    pub(super) is_behind: bool,
    /// Who has deliveries due, and of which account, once it is known: as soon as something was leased.
    pub(super) owing: HashMap<EndpointId, Option<String>>,
    places: usize,
    bytes: usize,
    lines: HashMap<EndpointId, Line>,
    /// The endpoints that something waits for, in the order of their turns.
    turns: VecDeque<EndpointId>,
    /// Those who had few places left when they were given one, and since when.
    crowded: HashMap<EndpointId, Instant>,
    /// No lease of what waits ends before this.
    earliest: Option<Instant>,
}

/// What is there of one endpoint.
struct Line {
    /// Set aside, or waiting.
    places: usize,
    waiting: VecDeque<(Leased, Instant)>,
    /// When something was last sent of it.
    moved: Instant,
}

impl Line {
    fn new() -> Self {
        Self { places: 0, waiting: VecDeque::new(), moved: Instant::now() }
    }

    /// Whether it has much of what it may have: as many as are `free`. A group may owe it hundreds more.
    fn is_crowded(&self, free: usize) -> bool {
        self.places > free / 4
    }
}

impl Waiting {
    /// Room for so many, and for one at least.
    pub(super) fn with_places(limit: usize) -> Self {
        Self { limit: limit.max(1), ..Self::default() }
    }

    /// Takes nothing more, and hands out what waits.
    pub(super) fn clear(&mut self) -> Vec<Leased> {
        let lines = std::mem::replace(self, Self { is_cleared: true, ..Self::default() }).lines;
        lines.into_values().flat_map(|line| line.waiting).map(|(leased, _)| leased).collect()
    }

    /// Whether it is worth the while of a worker to go on.
    pub(super) fn has_enough(&mut self, now: Instant) -> bool {
        let (lines, free) = (&self.lines, self.limit - self.places);
        self.crowded.retain(|endpoint, _| lines.get(endpoint).is_some_and(|line| line.is_crowded(free)));
        let moves = |endpoint: &EndpointId| lines.get(endpoint).is_some_and(|line| now < line.moved + MOVES_WITHIN);
        // Who is slow would hold up all others for as long as he is.
        let runs_out = |(endpoint, since): (&EndpointId, &Instant)| {
            now < *since + LONGEST_WAIT && !self.owing.contains_key(endpoint) && moves(endpoint)
        };
        let has_room = free >= self.limit / 4 && self.bytes <= BYTES - BYTES / 4;
        self.is_cleared || !self.is_behind && has_room && !self.crowded.iter().any(runs_out)
    }

    pub(super) fn set_aside(&mut self, endpoint: &EndpointId, bytes: usize) -> bool {
        let own = self.lines.get(endpoint).map_or(0, |line| line.places);
        if self.is_cleared || self.owing.contains_key(endpoint) {
            return false;
        }
        if own >= share(self.limit, self.places - own) || bytes > LARGEST || self.bytes + bytes > BYTES {
            // It will be due, and those after it must not pass it.
            self.owing.insert(endpoint.clone(), None);
            return false;
        }
        self.places += 1;
        self.bytes += bytes;
        let free = self.limit - self.places;
        let line = self.lines.entry(endpoint.clone()).or_insert_with(Line::new);
        line.places += 1;
        if line.is_crowded(free) && !self.crowded.contains_key(endpoint) {
            self.crowded.insert(endpoint.clone(), Instant::now());
        }
        true
    }

    pub(super) fn give_back(&mut self, endpoint: &EndpointId, bytes: usize) {
        // A desk that was cleared meanwhile knows nothing of it.
        let Some(line) = self.lines.get_mut(endpoint) else { return };
        line.places -= 1;
        self.places -= 1;
        self.bytes -= bytes;
        if line.places == 0 {
            self.lines.remove(endpoint);
        }
    }

    pub(super) fn queue(&mut self, leased: Leased, ends: Instant) {
        let line = self.lines.entry(leased.endpoint_id.clone()).or_insert_with(Line::new);
        if line.waiting.is_empty() {
            self.turns.push_back(leased.endpoint_id.clone());
        }
        line.waiting.push_back((leased, ends));
        self.earliest = Some(self.earliest.map_or(ends, |earliest| earliest.min(ends)));
    }

    /// What there are permits for, endpoint by endpoint in turns; each goes behind the others after its turn.
    pub(super) fn next<P>(&mut self, mut permit: impl FnMut(&Leased) -> Result<P, Full>) -> Vec<(Leased, Instant, P)> {
        let (mut next, mut full) = (Vec::new(), Vec::new());
        while let Some(endpoint) = self.turns.pop_front() {
            let first = self.lines.get(&endpoint).and_then(|line| line.waiting.front());
            let Some((first, _)) = first else { continue };
            match permit(first) {
                Ok(permit) => next.extend(self.next_of(&endpoint).map(|(leased, ends)| (leased, ends, permit))),
                Err(Full::ForEndpoint) => full.push(endpoint),
                Err(Full::ForAll) => {
                    self.turns.push_front(endpoint);
                    break;
                }
            }
        }
        self.turns.extend(full);
        next
    }

    /// Takes out what has waited for too long: whose lease ends before `needed`. In each line the oldest come first.
    pub(super) fn late(&mut self, needed: Instant) -> Vec<Leased> {
        if self.earliest.is_none_or(|earliest| earliest >= needed) {
            return Vec::new();
        }
        let is_late = |line: &Line| line.waiting.front().is_some_and(|(_, ends)| *ends < needed);
        let lines: Vec<_> = self.lines.iter().filter(|(_, line)| is_late(line)).map(|(id, _)| id.clone()).collect();
        let late: Vec<_> = lines.iter().flat_map(|endpoint| self.take_out(endpoint, is_late)).collect();
        self.earliest = self.lines.values().filter_map(|line| line.waiting.front()).map(|(_, ends)| *ends).min();
        late
    }

    /// Takes out all that waits for these endpoints; they get no place until they were leased from.
    pub(super) fn take_all(&mut self, endpoints: &[EndpointId]) -> Vec<Leased> {
        endpoints.iter().flat_map(|endpoint| self.take_out(endpoint, |_| true)).collect()
    }

    /// Takes an endpoint's deliveries out, from the oldest on, while they are such; it gets no place until it was leased from.
    fn take_out(&mut self, endpoint: &EndpointId, is_such: impl Fn(&Line) -> bool) -> Vec<Leased> {
        let mut out: Vec<Leased> = Vec::new();
        while let Some(line) = self.lines.get_mut(endpoint).filter(|line| is_such(line))
            && let Some((leased, _)) = line.waiting.pop_front()
        {
            self.give_back(endpoint, leased.body.len());
            out.push(leased);
        }
        let account = out.first().map(|leased| leased.target.account_id.clone());
        self.owing.entry(endpoint.clone()).or_insert(account);
        if self.lines.get(endpoint).is_none_or(|line| line.waiting.is_empty()) {
            self.turns.retain(|turn| turn != endpoint);
        }
        out
    }

    /// The next delivery to an endpoint; its place is free then.
    fn next_of(&mut self, endpoint: &EndpointId) -> Option<(Leased, Instant)> {
        let line = self.lines.get_mut(endpoint)?;
        let next = line.waiting.pop_front()?;
        line.moved = Instant::now();
        if !line.waiting.is_empty() {
            self.turns.push_back(endpoint.clone());
        }
        self.give_back(endpoint, next.0.body.len());
        Some(next)
    }
}
