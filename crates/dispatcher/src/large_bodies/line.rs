//! Who is let in where large bodies find no room. Knows no time but what it is told.
//!
//! Room comes and goes with the bodies that are being sent, and one that needs much of it would never find it if whatever is
//! smaller went first. So who was refused waits in a line, and what comes later and would take its room waits behind it. What
//! leaves it the room is let in meanwhile.
//!
//! * An account has one place in the line, for the one of its bodies that has waited longest. So one with a thousand waits as
//!   long as one with two, and after each that was let in the other accounts come first.
//! * While its account has bodies in memory itself, a body waits for those, and is in the way of nobody else: customers who take
//!   large bodies and do not answer hold up their own account.
//! * Who has not asked again for a while waits no more: another dispatcher has leased it, or its endpoint is left alone.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{PAUSE, Which};
use crate::fairness::share;

/// What is put off comes back after a pause, to any dispatcher of the fleet: to each of ten about as often as this.
const FORGOTTEN_AFTER: Duration = PAUSE.saturating_mul(10);

/// Those that were refused, whoever came first before the others.
#[derive(Default)]
pub(super) struct Line(Vec<Waiting>);

struct Waiting {
    body: Which,
    asked: Instant,
}

impl Line {
    /// Whether a body may be read, beside those that are in memory, of `budget` bytes. One that may not has a place in the line
    /// from now on, unless its account has one.
    pub(super) fn lets_in<'h>(
        &mut self,
        wanted: &Which,
        held: impl Iterator<Item = &'h Which>,
        budget: usize,
        now: Instant,
    ) -> bool {
        self.0.retain(|waiting| now < waiting.asked + FORGOTTEN_AFTER);
        let taken = Taken::by(held, budget);
        let place = self.0.iter().position(|waiting| waiting.body == *wanted);
        let before = &self.0[..place.unwrap_or(self.0.len())];
        let is_let_in = taken.leave_room_for(wanted) && !before.iter().any(|first| taken.needs(&first.body, wanted));
        match place {
            Some(place) if is_let_in => drop(self.0.remove(place)),
            Some(place) => self.0[place].asked = now,
            None if is_let_in || self.has_place(&wanted.account_id) => {}
            None => self.0.push(Waiting { body: wanted.clone(), asked: now }),
        }
        is_let_in
    }

    fn has_place(&self, account: &str) -> bool {
        self.0.iter().any(|waiting| waiting.body.account_id == account)
    }
}

/// What is in memory, of so many bytes in all.
struct Taken<'h> {
    by_account: HashMap<&'h str, usize>,
    all: usize,
    budget: usize,
}

impl<'h> Taken<'h> {
    fn by(held: impl Iterator<Item = &'h Which>, budget: usize) -> Self {
        let mut taken = Self { by_account: HashMap::new(), all: 0, budget };
        for Which { account_id, bytes, .. } in held {
            *taken.by_account.entry(account_id).or_default() += *bytes as usize;
            taken.all += *bytes as usize;
        }
        taken
    }

    /// By the account of a body, and by the others.
    fn beside(&self, body: &Which) -> (usize, usize) {
        let own = self.by_account.get(body.account_id.as_str()).copied().unwrap_or_default();
        (own, self.all - own)
    }

    fn leave_room_for(&self, wanted: &Which) -> bool {
        let (own, others) = self.beside(wanted);
        self.has_room(own, others, wanted)
    }

    /// Whether `first`, who has waited longer, needs the room that `later` would take.
    fn needs(&self, first: &Which, later: &Which) -> bool {
        let ((own, others), more) = (self.beside(first), later.bytes as usize);
        if first.account_id == later.account_id {
            return !self.has_room(own + more, others, first);
        }
        own == 0 && !self.has_room(own, others + more, first)
    }

    fn has_room(&self, own: usize, others: usize, wanted: &Which) -> bool {
        let (bytes, budget) = (wanted.bytes as usize, self.budget);
        let is_larger_than_any_share = bytes > share(budget, 0);
        own + bytes <= share(budget, others) || is_larger_than_any_share && own + others + bytes.min(budget) <= budget
    }
}

#[cfg(test)]
mod tests;
