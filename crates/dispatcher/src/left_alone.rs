//! Endpoints that are left alone for a while, because nothing can be sent to them from here: their key is lacking, say
//! (`foreign.rs`), or nobody could be asked for their address (`put_off.rs`).
//!
//! Meanwhile nothing of theirs is leased here, and what is handed over is given back: so they take no room from others.

use std::{collections::HashSet, time::Duration};

use database::due::Leased;
use tokio::time::Instant;
use vocabulary::EndpointId;

use crate::pauses::Pauses;

/// Remembers them.
#[derive(Debug, Default)]
pub(crate) struct LeftAlone {
    pauses: Pauses<EndpointId>,
}

impl LeftAlone {
    /// From `now` on, and says whether that is news: a pause that has begun ends when it said.
    pub(crate) fn leave(&self, id: &EndpointId, now: Instant, pause: Duration) -> bool {
        self.pauses.begin(id.clone(), now, pause)
    }

    /// All that are left alone at `now`.
    pub(crate) fn closed(&self, now: Instant) -> HashSet<EndpointId> {
        self.pauses.lasting(now).keys().cloned().collect()
    }

    /// Those that these deliveries are owed to, each once.
    pub(crate) fn among<B>(&self, deliveries: &[Leased<B>], now: Instant) -> Vec<EndpointId> {
        let lasting = self.pauses.lasting(now);
        let closed = deliveries.iter().map(|leased| &leased.endpoint_id).filter(|id| lasting.contains_key(id));
        closed.collect::<HashSet<_>>().into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    #[test]
    fn a_pause_ends_when_it_said_however_often_the_endpoint_was_met_meanwhile() {
        let (left_alone, id, now) = (LeftAlone::default(), "e1".parse().unwrap(), Instant::now());
        let just_before = now + PAUSE - Duration::from_millis(1);

        let news = [now, just_before].map(|at| left_alone.leave(&id, at, PAUSE));

        assert_eq!(news, [true, false]);
        assert_eq!((left_alone.closed(just_before).len(), left_alone.closed(now + PAUSE).len()), (1, 0));
        assert!(left_alone.leave(&id, now + PAUSE, PAUSE), "it is met again, and left alone again");
    }
}
