//! Whether Redis can take more, looked at once a second rather than once a request.

use std::{
    sync::atomic::{AtomicU8, Ordering::Relaxed},
    time::Duration,
};

use queue::Inbound;
use tokio::time::timeout;
use tracing::{info, warn};

use super::Refusal;

/// A Redis that takes longer than this for a look at its memory would keep senders waiting as well.
const LOOK_DEADLINE: Duration = Duration::from_secs(2);

/// What the last look at Redis has shown.
#[derive(Debug)]
pub(super) struct Pressure(AtomicU8);

/// Redis takes more; it is above 75 % of its memory; it does not answer.
const TAKES: u8 = 0;
const FULL: u8 = 1;
const DOWN: u8 = 2;

impl Default for Pressure {
    /// Before the first look nothing is known, and nothing is taken.
    fn default() -> Self {
        Self(AtomicU8::new(DOWN))
    }
}

impl Pressure {
    /// Looks once.
    ///
    /// The mark is 75 % because a full Redis cannot even be emptied: fetching a job writes.
    pub(super) async fn look(&self, inbound: &Inbound) {
        let seen = match timeout(LOOK_DEADLINE, inbound.memory()).await {
            Ok(Ok(memory)) if memory.is_above_75_percent() => FULL,
            Ok(Ok(_)) => TAKES,
            Ok(Err(_)) | Err(_) => DOWN,
        };
        match (self.0.swap(seen, Relaxed), seen) {
            (before, now) if before == now => {}
            (_, TAKES) => info!("Redis takes raw events"),
            (_, FULL) => {
                warn!("Redis is above 75 % of its maxmemory: senders get 503 until the workers have caught up")
            }
            _ => warn!("Redis does not answer: senders get 503 until it does"),
        }
    }

    /// Whether a raw event can be taken, as of the last look.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        match self.0.load(Relaxed) {
            TAKES => Ok(()),
            FULL => Err(Refusal::RedisFull),
            _ => Err(Refusal::RedisDown),
        }
    }
}
