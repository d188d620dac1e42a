//! What lies between two steps of the loop.

use std::time::Duration;

use database::due::Body;

use super::Taken;

/// How often the loop looks for retries, and for what there was no room for: each look has its price.
pub(super) const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(5);
/// How soon the loop looks again at the word of whoever has committed something, once it has found nothing: what is committed for
/// an endpoint that takes nothing just now is looked for with each transaction.
pub(super) const LOOK_IN_VAIN_AT_MOST_EVERY: Duration = Duration::from_millis(10);

/// What the loop waits for after a step, beside a word from outside.
pub(super) struct Pause {
    /// Whoever has committed something; and if it has not looked in vain, whatever is said.
    pub(super) at_least: Duration,
    pub(super) at_most: Duration,
    /// A permit that is given back ends it: the step saw too little room to tell whether more is due.
    pub(super) for_room: bool,
}

impl Pause {
    /// There may be more to lease.
    pub(super) const NONE: Self = Self { at_least: Duration::ZERO, at_most: Duration::ZERO, for_room: false };

    /// Retries have waited for longer than that already, and without it thousands of them were leased as fast as permits
    /// come back, a handful at a time, while others wait for Postgres.
    pub(super) fn after(taken: &[Taken<Body>]) -> Self {
        let are_retries = taken.iter().all(|taken| taken.leased.is_retry());
        Self { at_least: if are_retries { LOOK_AT_MOST_EVERY } else { Duration::ZERO }, ..Self::NONE }
    }
}
