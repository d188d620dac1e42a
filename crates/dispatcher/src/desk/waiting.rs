//! What is on the desk: places, what waits in them, and whose turn it is. Knows no time but what it is told, and no permit but
//! what it is given.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use database::due::Leased;
use tokio::time::Instant;
use vocabulary::EndpointId;

use super::{awaited::Awaited, places::Places};
use crate::in_flight::Full;

#[derive(Default)]
pub(super) struct Waiting {
    /// Nothing is taken any more.
    pub(super) is_cleared: bool,
    /// Nothing is sent just now.
    pub(super) is_held: bool,
    /// There was nothing to lease, so no permits need to be left for that.
    pub(super) has_all_permits: bool,
    places: Places,
    lines: HashMap<EndpointId, Line>,
    /// The endpoints that something waits for, in the order of their turns.
    turns: VecDeque<EndpointId>,
    /// Who has deliveries due, and of which account, where it is known.
    owing: HashMap<EndpointId, Option<String>>,
    awaited: Awaited,
    /// No lease of what waits ends before this.
    earliest: Option<Instant>,
}

/// What waits for one endpoint, each until its lease ends.
type Line = VecDeque<(Leased, Instant)>;

impl Waiting {
    /// Room for so many, and for one at least.
    pub(super) fn with_places(limit: usize) -> Self {
        Self { places: Places::new(limit), ..Self::default() }
    }

    /// Takes nothing more, and hands out what waits.
    pub(super) fn clear(&mut self) -> Vec<Leased> {
        let lines = std::mem::replace(self, Self { is_cleared: true, ..Self::default() }).lines;
        lines.into_values().flatten().map(|(leased, _)| leased).collect()
    }

    /// Whether it is worth the while of a worker to go on.
    pub(super) fn has_enough(&mut self, now: Instant) -> bool {
        self.is_cleared || !self.awaited.any(now)
    }

    pub(super) fn set_aside(&mut self, account: &str, endpoint: &EndpointId, bytes: usize, now: Instant) -> bool {
        if self.is_cleared || self.owing.contains_key(endpoint) {
            return false;
        }
        let has_place = self.places.take(account, endpoint, bytes);
        if !has_place {
            // It will be due, and those after it must not pass it.
            self.owing.insert(endpoint.clone(), Some(account.to_owned()));
        }
        if self.places.are_few_for(account, endpoint) {
            self.awaited.begin(endpoint, now);
        }
        has_place
    }

    pub(super) fn give_back(&mut self, account: &str, endpoint: &EndpointId, bytes: usize) {
        self.places.give_back(account, endpoint, bytes);
        let is_short = || self.owing.contains_key(endpoint) || self.places.are_few_for(account, endpoint);
        if self.awaited.has(endpoint) && !is_short() {
            self.awaited.end(endpoint);
        }
    }

    /// A customer was content with a delivery, wherever it came from.
    pub(super) fn answered(&mut self, endpoint: &EndpointId, now: Instant) {
        self.awaited.answered(endpoint, now);
    }

    /// Hears what a lease has brought: see [`super::Desk::hear`].
    pub(super) fn hear(
        &mut self,
        fills_room: bool,
        leased: &HashMap<EndpointId, String>,
        had_room: impl Fn(&EndpointId, Option<&String>) -> bool,
        now: Instant,
    ) {
        self.has_all_permits = leased.is_empty();
        self.owing.extend(leased.iter().map(|(endpoint, account)| (endpoint.clone(), Some(account.clone()))));
        if fills_room {
            return leased.keys().for_each(|endpoint| self.awaited.begin_again(endpoint, now));
        }
        for (endpoint, account) in self.owing.extract_if(|endpoint, account| had_room(endpoint, account.as_ref())) {
            if account.is_none_or(|account| !self.places.are_few_for(&account, &endpoint)) {
                self.awaited.end(&endpoint);
            }
        }
    }

    pub(super) fn queue(&mut self, leased: Leased, ends: Instant) {
        let line = self.lines.entry(leased.endpoint_id.clone()).or_default();
        if line.is_empty() {
            self.turns.push_back(leased.endpoint_id.clone());
        }
        line.push_back((leased, ends));
        self.earliest = Some(self.earliest.map_or(ends, |earliest| earliest.min(ends)));
    }

    /// What there are permits for, endpoint by endpoint in turns; each goes behind the others after its turn.
    pub(super) fn next<P>(&mut self, mut permit: impl FnMut(&Leased) -> Result<P, Full>) -> Vec<(Leased, Instant, P)> {
        let (mut next, mut full) = (Vec::new(), Vec::new());
        while let Some(endpoint) = self.turns.pop_front() {
            let first = self.lines.get(&endpoint).and_then(|line| line.front());
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
        let is_late = |line: &Line| line.front().is_some_and(|(_, ends)| *ends < needed);
        let lines: Vec<_> = self.lines.iter().filter(|(_, line)| is_late(line)).map(|(id, _)| id.clone()).collect();
        let late: Vec<_> = lines.iter().flat_map(|endpoint| self.take_out(endpoint, is_late)).collect();
        self.earliest = self.lines.values().filter_map(|line| line.front()).map(|(_, ends)| *ends).min();
        late
    }

    /// Takes out all that waits for these endpoints; they get no place until they were leased from.
    pub(super) fn take_all(&mut self, endpoints: &[EndpointId]) -> Vec<Leased> {
        endpoints.iter().flat_map(|endpoint| self.take_out(endpoint, |_| true)).collect()
    }

    /// Takes an endpoint's deliveries out, from the oldest on, while they are such; it gets no place until it was leased from.
    fn take_out(&mut self, endpoint: &EndpointId, is_such: impl Fn(&Line) -> bool) -> Vec<Leased> {
        let mut out: Vec<Leased> = Vec::new();
        while self.lines.get(endpoint).is_some_and(&is_such)
            && let Some((leased, _)) = self.pop(endpoint)
        {
            out.push(leased);
        }
        let account = out.first().map(|leased| leased.target.account_id.clone());
        self.owing.entry(endpoint.clone()).or_insert(account);
        if !self.lines.contains_key(endpoint) {
            self.turns.retain(|turn| turn != endpoint);
        }
        out
    }

    /// The next delivery to an endpoint, which goes behind the others.
    fn next_of(&mut self, endpoint: &EndpointId) -> Option<(Leased, Instant)> {
        let next = self.pop(endpoint)?;
        if self.lines.contains_key(endpoint) {
            self.turns.push_back(endpoint.clone());
        }
        Some(next)
    }

    /// The oldest that waits for an endpoint; its place is free then.
    fn pop(&mut self, endpoint: &EndpointId) -> Option<(Leased, Instant)> {
        let line = self.lines.get_mut(endpoint)?;
        let oldest = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(endpoint);
        }
        self.give_back(&oldest.0.target.account_id, endpoint, oldest.0.body.len());
        Some(oldest)
    }
}
