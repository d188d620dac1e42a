//! How long trouble lasts, and what must hold every moment of it.

use std::time::{Duration, Instant};

use super::{
    enqueuing::Enqueuing,
    installation::{CONCURRENCY, Installation},
};

/// A worker in trouble looks again that often: how long its break is, at least.
const BREAK: Duration = Duration::from_millis(500);
/// What a worker can have in its hands when trouble begins: its handlers' jobs, as many in memory, and one fetch under way.
const IN_HAND: u64 = 3 * CONCURRENCY as u64;

/// A time of trouble.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trouble {
    lasts: Duration,
    /// What is tried in vain, at most.
    tries: u64,
}

impl Trouble {
    /// Workers cannot even connect: they try what they have in their hands, and nothing else until it is over.
    pub(super) fn outage(lasts: Duration) -> Self {
        Self { lasts, tries: IN_HAND }
    }

    /// Postgres answers, and takes nothing: workers come back after each break with what they then have in their hands.
    pub(super) fn refusal(lasts: Duration) -> Self {
        let breaks = lasts.as_millis() / BREAK.as_millis() + 1;
        Self { lasts, tries: IN_HAND * u64::try_from(breaks).unwrap() }
    }

    /// Lets it last; looks into the queue several times a second, because what must not be must not be at any moment.
    pub(super) async fn pass(self, it: &Installation, enqueuing: &Enqueuing) {
        let (begun, before) = (Instant::now(), enqueuing.so_far());
        while begun.elapsed() < self.lasts {
            let look = it.look().await;
            assert_eq!((look.attempts, look.depth.dead, look.depth.unreachable), (0, 0, 0), "{look:?}");
            assert!(it.in_vain() <= self.tries, "{} tries in vain: a hot loop", it.in_vain());
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        assert!(enqueuing.so_far() > before, "enqueuing goes on");
        assert_eq!(it.counted(|counters| &counters.quarantined), 0);
    }
}
