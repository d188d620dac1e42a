//! Whom workers wait for before they commit more: endpoints that are short of places, and answer.
//!
//! Only an answer frees anything, so what an endpoint holds that does not answer is no reason to wait, and one that answers too
//! slowly is waited for once and not again before it is short no more. Else it would hold up all others for as long as it is slow.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;
use vocabulary::EndpointId;

/// While an endpoint answers at least this often a worker waits for it; at most so long in all, and for one of them.
pub(super) const MOVES_WITHIN: Duration = Duration::from_millis(20);
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Awaited {
    short: HashMap<EndpointId, Short>,
    /// Of these, those that have answered, until it is found that they are not worth waiting for any more. In an order, so that to
    /// find the first costs the same however many there are.
    answering: BTreeSet<EndpointId>,
}

#[derive(Debug)]
struct Short {
    since: Instant,
    answered: Option<Instant>,
}

impl Short {
    fn since(now: Instant) -> Self {
        Self { since: now, answered: None }
    }

    fn is_worth_waiting_for(&self, now: Instant) -> bool {
        now < self.since + LONGEST_WAIT && self.answered.is_some_and(|answered| now < answered + MOVES_WITHIN)
    }
}

impl Awaited {
    /// An endpoint is short of places.
    pub(super) fn begin(&mut self, endpoint: &EndpointId, now: Instant) {
        if !self.has(endpoint) {
            self.short.insert(endpoint.clone(), Short::since(now));
        }
    }

    /// An endpoint has as much due as can be sent, whatever it was waited for before.
    pub(super) fn begin_again(&mut self, endpoint: &EndpointId, now: Instant) {
        self.begin(endpoint, now);
        if let Some(short) = self.short.get_mut(endpoint) {
            short.since = now;
        }
    }

    pub(super) fn answered(&mut self, endpoint: &EndpointId, now: Instant) {
        let Some(short) = self.short.get_mut(endpoint) else { return };
        short.answered = Some(now);
        if short.is_worth_waiting_for(now) && !self.answering.contains(endpoint) {
            self.answering.insert(endpoint.clone());
        }
    }

    /// It is short no more.
    pub(super) fn end(&mut self, endpoint: &EndpointId) {
        if self.short.remove(endpoint).is_some() {
            self.answering.remove(endpoint);
        }
    }

    /// Whether an endpoint is short.
    pub(super) fn has(&self, endpoint: &EndpointId) -> bool {
        self.short.contains_key(endpoint)
    }

    /// Whether there is one that is worth waiting for.
    pub(super) fn any(&mut self, now: Instant) -> bool {
        while let Some(endpoint) = self.answering.first() {
            if self.short.get(endpoint).is_some_and(|short| short.is_worth_waiting_for(now)) {
                return true;
            }
            self.answering.pop_first();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(id: &str) -> EndpointId {
        id.parse().unwrap()
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        let (mut awaited, now) = (Awaited::default(), Instant::now());
        awaited.begin(&endpoint("hangs"), now);
        awaited.answered(&endpoint("has-places"), now);

        assert!(!awaited.any(now));
    }

    #[test]
    fn who_answers_is_waited_for_until_he_answers_no_more_or_is_short_no_more() {
        let (mut awaited, now) = (Awaited::default(), Instant::now());
        for id in ["falls-silent", "has-places-again"] {
            awaited.begin(&endpoint(id), now);
            awaited.answered(&endpoint(id), now);
        }
        let later = now + MOVES_WITHIN;
        awaited.answered(&endpoint("has-places-again"), later);

        assert!(awaited.any(later));
        awaited.end(&endpoint("has-places-again"));

        assert!(!awaited.any(later));
    }

    #[test]
    fn who_has_fallen_silent_is_waited_for_once_he_answers_again() {
        let (mut awaited, now) = (Awaited::default(), Instant::now());
        awaited.begin(&endpoint("bot"), now);
        awaited.answered(&endpoint("bot"), now);
        let later = now + 2 * MOVES_WITHIN;
        assert!(!awaited.any(later));

        awaited.answered(&endpoint("bot"), later);

        assert!(awaited.any(later));
    }

    #[test]
    fn who_answers_too_slowly_holds_nobody_up_again_before_he_has_been_short_no_more() {
        let (mut awaited, now) = (Awaited::default(), Instant::now());
        let later = now + LONGEST_WAIT;
        let is_awaited = |awaited: &mut Awaited| {
            awaited.begin(&endpoint("slow"), later);
            awaited.answered(&endpoint("slow"), later);
            awaited.any(later)
        };
        awaited.begin(&endpoint("slow"), now);

        let still = is_awaited(&mut awaited);
        awaited.end(&endpoint("slow"));
        let anew = is_awaited(&mut awaited);

        assert_eq!((still, anew), (false, true));
    }
}
