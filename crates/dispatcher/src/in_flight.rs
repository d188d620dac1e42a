//! What is being sent just now, and how much more may be.
//!
//! Two limits, over all endpoints and for each, so that a customer who hangs holds his own share and nobody else's. Of
//! either limit retries get half at most: that is the share reserved for first attempts. A permit is held until the result
//! is recorded, so that a slow Postgres slows the sending down and nothing piles up in memory.

use std::{collections::HashMap, sync::Arc};

use database::due::Room;
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct InFlight {
    limit: usize,
    per_endpoint: usize,
    load: watch::Sender<Load>,
}

#[derive(Debug, Default)]
struct Load {
    all: Count,
    endpoints: HashMap<String, Count>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    all: usize,
    retries: usize,
}

/// The right to send one delivery. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    in_flight: Arc<InFlight>,
    endpoint_id: String,
    retry: bool,
}

/// What may be leased now.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub(crate) all: Room,
    pub(crate) per_endpoint: Room,
    pub(crate) busy: Vec<(String, Room)>,
}

impl InFlight {
    pub(crate) fn new(limit: usize, per_endpoint: usize) -> Arc<Self> {
        Arc::new(Self { limit, per_endpoint, load: watch::Sender::default() })
    }

    pub(crate) fn rooms(&self) -> Rooms {
        let load = self.load.borrow();
        let busy = load.endpoints.iter().map(|(id, count)| (id.clone(), count.room(self.per_endpoint)));
        Rooms {
            all: load.all.room(self.limit),
            per_endpoint: Count::default().room(self.per_endpoint),
            busy: busy.collect(),
        }
    }

    pub(crate) fn take(self: &Arc<Self>, endpoint_id: &str, retry: bool) -> Permit {
        self.load.send_if_modified(|load| {
            load.all.add(retry);
            load.endpoints.entry(endpoint_id.to_owned()).or_default().add(retry);
            false // only what is given back is news
        });
        Permit { in_flight: self.clone(), endpoint_id: endpoint_id.to_owned(), retry }
    }

    /// Tells of every permit given back from now on.
    pub(crate) fn given_back(&self) -> GivenBack {
        GivenBack(self.load.subscribe())
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn ended(&self) {
        // It cannot fail: the sender lives in self.
        let _ = self.load.subscribe().wait_for(|load| load.all.all == 0).await;
    }
}

impl Rooms {
    /// Whether the want of room may be why something due was not leased.
    pub(crate) fn are_scarce(&self) -> bool {
        let scarce = |room: &Room| room.all == 0 || room.retries == 0;
        scarce(&self.all) || self.busy.iter().any(|(_, room)| scarce(room))
    }
}

pub(crate) struct GivenBack(watch::Receiver<Load>);

impl GivenBack {
    /// Forgets what was given back so far: the caller is about to look at the rooms.
    pub(crate) fn look(&mut self) {
        self.0.mark_unchanged();
    }

    /// Waits for the next permit to be given back since the last look.
    pub(crate) async fn wait(&mut self) {
        // It fails only once the dispatcher is gone, and then nobody waits.
        let _ = self.0.changed().await;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight.load.send_modify(|load| {
            load.all.remove(self.retry);
            if let Some(count) = load.endpoints.get_mut(&self.endpoint_id) {
                count.remove(self.retry);
                if count.all == 0 {
                    load.endpoints.remove(&self.endpoint_id);
                }
            }
        });
    }
}

impl Count {
    fn add(&mut self, retry: bool) {
        self.all += 1;
        self.retries += usize::from(retry);
    }

    fn remove(&mut self, retry: bool) {
        self.all -= 1;
        self.retries -= usize::from(retry);
    }

    fn room(self, limit: usize) -> Room {
        let all = limit.saturating_sub(self.all);
        Room { all, retries: limit.div_ceil(2).saturating_sub(self.retries).min(all) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_never_fill_more_than_half_of_any_limit() {
        let in_flight = InFlight::new(8, 4);

        let _permits: Vec<_> = (0..2).map(|_| in_flight.take("e1", true)).collect();

        let rooms = in_flight.rooms();
        assert_eq!(rooms.all, Room { all: 6, retries: 2 });
        assert_eq!(rooms.per_endpoint, Room { all: 4, retries: 2 });
        assert_eq!(rooms.busy, [("e1".to_owned(), Room { all: 2, retries: 0 })]);
    }

    #[test]
    fn a_permit_is_given_back_when_it_is_dropped_and_its_endpoint_forgotten_with_the_last() {
        let in_flight = InFlight::new(8, 4);
        let (first, second) = (in_flight.take("e1", false), in_flight.take("e1", true));

        drop(first);
        assert_eq!(in_flight.rooms().busy, [("e1".to_owned(), Room { all: 3, retries: 1 })]);
        drop(second);

        assert_eq!(in_flight.rooms().all, Room { all: 8, retries: 4 });
        assert!(in_flight.rooms().busy.is_empty());
    }

    #[tokio::test]
    async fn only_what_is_given_back_is_news() {
        let in_flight = InFlight::new(8, 4);
        let mut given_back = in_flight.given_back();
        let permit = in_flight.take("e1", false);
        assert!(futures::FutureExt::now_or_never(given_back.wait()).is_none());

        drop(permit);

        given_back.wait().await;
        in_flight.ended().await;
    }
}
