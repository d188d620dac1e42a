//! Whether a claim that was won is believed.
//!
//! It says that nobody has committed the key, as far as Redis remembers. So the key is written without being looked up
//! first, and so is the message that comes with it; should either be there all the same, its constraint says so, and the
//! transaction is made again with a look-up of every key and every message.
//! Keys that Redis has forgotten come in numbers (a Redis that lost its data, a provider who repeats himself for longer than
//! claims are kept), and each would cost a transaction. So for a while after one of them every key is looked up.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long claims are not believed once one was wrong: a transaction made twice in so long costs next to nothing.
const DOUBT: Duration = Duration::from_secs(60);

/// Shared by all transactions of a worker.
#[derive(Default)]
pub(crate) struct Trust {
    lost_at: Mutex<Option<Instant>>,
}

impl Trust {
    /// The ledger had what a claim said was new.
    pub(crate) fn lose(&self, now: Instant) {
        *self.lost_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether claims are believed now.
    pub(crate) fn is_kept(&self, now: Instant) -> bool {
        let lost_at = *self.lost_at.lock().unwrap_or_else(PoisonError::into_inner);
        lost_at.is_none_or(|lost_at| now.saturating_duration_since(lost_at) >= DOUBT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_doubted_for_a_minute_after_the_last_that_was_wrong() {
        let (trust, start) = (Trust::default(), Instant::now());
        assert!(trust.is_kept(start));

        trust.lose(start);
        trust.lose(start + DOUBT / 2);

        assert!(!trust.is_kept(start + DOUBT));
        assert!(trust.is_kept(start + DOUBT * 3 / 2));
    }
}
