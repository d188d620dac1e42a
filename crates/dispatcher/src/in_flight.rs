//! What is being sent just now, and how much more may be.
//!
//! Two limits, over all endpoints and for each, so that a customer who hangs holds his own share and nobody else's. Of
//! either limit retries get half at most: that is the share reserved for first attempts. What was answered no longer counts
//! there, but it counts until it is recorded, so that a slow Postgres slows the sending down and nothing piles up in memory.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use database::due::Room;
use tokio::sync::Notify;
use vocabulary::EndpointId;

/// How much there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Sent just now.
    pub(crate) in_flight: usize,
    /// Of these, to one endpoint.
    pub(crate) per_endpoint: usize,
    /// Sent just now, or answered and not recorded yet.
    pub(crate) unrecorded: usize,
}

#[derive(Debug)]
pub(crate) struct InFlight {
    limits: Limits,
    load: Mutex<Load>,
    given_back: Notify,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Load {
    all: Count,
    endpoints: HashMap<EndpointId, Count>,
    unrecorded: usize,
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
    endpoint_id: EndpointId,
    retry: bool,
    is_answered: bool,
}

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Not even for another endpoint.
    ForAll,
    /// For this endpoint.
    ForEndpoint,
}

/// How much of the limits one may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// All but a quarter, which is left to what is leased.
    OfDesk,
    /// All.
    All,
}

impl Share {
    fn of(self, limit: usize) -> usize {
        match self {
            Self::OfDesk => (limit - limit.div_ceil(4)).max(1),
            Self::All => limit,
        }
    }
}

/// What may be leased now.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub(crate) all: Room,
    pub(crate) per_endpoint: Room,
    /// Who is being sent to, or has no room for another reason.
    pub(crate) busy: Vec<(EndpointId, Room)>,
    /// Of these, those that no permit which is given back makes room for.
    closed: HashSet<EndpointId>,
}

impl InFlight {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let (load, given_back, ended) = Default::default();
        Arc::new(Self { limits, load, given_back, ended })
    }

    pub(crate) fn rooms(&self) -> Rooms {
        let (load, Limits { per_endpoint, .. }) = (self.load(), self.limits);
        let busy = load.endpoints.iter().map(|(id, count)| (id.clone(), count.room(per_endpoint)));
        Rooms {
            all: load.room(self.limits, Share::All),
            per_endpoint: Count::default().room(per_endpoint),
            busy: busy.collect(),
            closed: HashSet::new(),
        }
    }

    /// Takes a permit for what is leased already: the caller has looked at the rooms before it leased.
    pub(crate) fn take(self: &Arc<Self>, endpoint_id: &EndpointId, retry: bool) -> Permit {
        self.load().add(endpoint_id, retry);
        self.permit(endpoint_id, retry)
    }

    /// Takes a permit for a first attempt, if this share of the limits is not used up.
    pub(crate) fn try_take(self: &Arc<Self>, endpoint_id: &EndpointId, share: Share) -> Result<Permit, Full> {
        let mut load = self.load();
        if load.room(self.limits, share).all == 0 {
            return Err(Full::ForAll);
        }
        let own = load.endpoints.get(endpoint_id).copied().unwrap_or_default();
        if own.room(share.of(self.limits.per_endpoint)).all == 0 {
            return Err(Full::ForEndpoint);
        }
        load.add(endpoint_id, false);
        drop(load);
        Ok(self.permit(endpoint_id, false))
    }

    fn permit(self: &Arc<Self>, endpoint_id: &EndpointId, retry: bool) -> Permit {
        Permit { in_flight: self.clone(), endpoint_id: endpoint_id.clone(), retry, is_answered: false }
    }

    /// Waits until room was given back since the last time that this was waited for. For one who waits.
    pub(crate) async fn given_back(&self) {
        self.given_back.notified().await;
    }

    /// Waits until nothing is in flight, and everything is recorded.
    pub(crate) async fn ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.load().is_empty() {
                return;
            }
            ended.await;
        }
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rooms {
    /// Nothing is to be leased of these endpoints.
    pub(crate) fn without(mut self, closed: HashSet<EndpointId>) -> Self {
        const NONE: Room = Room { all: 0, retries: 0 };
        self.busy.retain(|(id, _)| !closed.contains(id));
        self.busy.extend(closed.iter().map(|id| (id.clone(), NONE)));
        self.closed = closed;
        self
    }

    /// The endpoints of which nothing could have been leased.
    pub(crate) fn full(&self) -> HashSet<&EndpointId> {
        self.busy.iter().filter(|(_, room)| room.all == 0).map(|(id, _)| id).collect()
    }

    /// Whether the want of room may be why something due was not leased.
    pub(crate) fn are_scarce(&self) -> bool {
        let scarce = |room: &Room| room.all == 0 || room.retries == 0;
        scarce(&self.all) || self.busy.iter().any(|(id, room)| scarce(room) && !self.closed.contains(id))
    }
}

impl Permit {
    /// The customer has answered, or will not: the next may be sent to him. What came of it is still to be recorded.
    pub(crate) fn answered(&mut self) {
        if std::mem::replace(&mut self.is_answered, true) {
            return;
        }
        let mut load = self.in_flight.load();
        load.remove(&self.endpoint_id, self.retry);
        load.unrecorded += 1;
        drop(load);
        self.in_flight.given_back.notify_one();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut load = self.in_flight.load();
        if self.is_answered {
            load.unrecorded -= 1;
        } else {
            load.remove(&self.endpoint_id, self.retry);
        }
        let is_empty = load.is_empty();
        drop(load);
        self.in_flight.given_back.notify_one();
        if is_empty {
            self.in_flight.ended.notify_waiters();
        }
    }
}

impl Load {
    fn is_empty(&self) -> bool {
        self.all.all == 0 && self.unrecorded == 0
    }

    /// Within a share of the limit, and within what may wait to be recorded.
    fn room(&self, limits: Limits, share: Share) -> Room {
        let Room { all, retries } = self.all.room(share.of(limits.in_flight));
        let unrecorded = limits.unrecorded.saturating_sub(self.unrecorded + self.all.all);
        Room { all: all.min(unrecorded), retries: retries.min(unrecorded) }
    }

    fn add(&mut self, endpoint_id: &EndpointId, retry: bool) {
        self.all.add(retry);
        self.endpoints.entry(endpoint_id.clone()).or_default().add(retry);
    }

    fn remove(&mut self, endpoint_id: &EndpointId, retry: bool) {
        self.all.remove(retry);
        if let Some(count) = self.endpoints.get_mut(endpoint_id) {
            count.remove(retry);
            if count.all == 0 {
                self.endpoints.remove(endpoint_id);
            }
        }
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
    use futures::FutureExt;

    use super::*;

    /// Of which as many again may wait to be recorded.
    fn in_flight(in_flight: usize, per_endpoint: usize) -> Arc<InFlight> {
        InFlight::new(Limits { in_flight, per_endpoint, unrecorded: 2 * in_flight })
    }

    fn endpoint(id: &str) -> EndpointId {
        id.parse().unwrap()
    }

    #[test]
    fn retries_never_fill_more_than_half_of_any_limit() {
        let in_flight = in_flight(8, 4);

        let _permits: Vec<_> = (0..2).map(|_| in_flight.take(&endpoint("e1"), true)).collect();

        let rooms = in_flight.rooms();
        assert_eq!(rooms.all, Room { all: 6, retries: 2 });
        assert_eq!(rooms.per_endpoint, Room { all: 4, retries: 2 });
        assert_eq!(rooms.busy, [(endpoint("e1"), Room { all: 2, retries: 0 })]);
    }

    #[test]
    fn a_permit_is_given_back_when_it_is_dropped_and_its_endpoint_forgotten_with_the_last() {
        let in_flight = in_flight(8, 4);
        let (first, second) = (in_flight.take(&endpoint("e1"), false), in_flight.take(&endpoint("e1"), true));

        drop(first);
        assert_eq!(in_flight.rooms().busy, [(endpoint("e1"), Room { all: 3, retries: 1 })]);
        drop(second);

        assert_eq!(in_flight.rooms().all, Room { all: 8, retries: 4 });
        assert!(in_flight.rooms().busy.is_empty());
    }

    #[test]
    fn what_is_answered_leaves_its_place_to_the_next_but_is_not_over_until_it_is_recorded() {
        let in_flight = in_flight(8, 1);
        let mut permit = in_flight.take(&endpoint("e1"), false);
        assert_eq!(in_flight.try_take(&endpoint("e1"), Share::All).unwrap_err(), Full::ForEndpoint);

        permit.answered();
        assert!(in_flight.try_take(&endpoint("e1"), Share::All).is_ok());
        assert!(in_flight.ended().now_or_never().is_none());

        drop(permit);
        assert!(in_flight.ended().now_or_never().is_some());
    }

    #[test]
    fn a_quarter_of_each_limit_is_left_to_what_is_leased() {
        let in_flight = in_flight(8, 4);
        let take = |id: &str| in_flight.try_take(&endpoint(id), Share::OfDesk);

        let _permits: Vec<_> = (0..3).map(|_| take("e1").unwrap()).chain((0..3).map(|_| take("e2").unwrap())).collect();

        assert_eq!(take("e3").unwrap_err(), Full::ForAll);
        assert_eq!(in_flight.rooms().all.all, 2);
        assert!(in_flight.rooms().busy.iter().all(|(_, room)| room.all == 1));
    }

    #[test]
    fn when_too_much_is_not_recorded_nothing_more_is_sent() {
        let in_flight = in_flight(8, 8);
        let answered = |_| {
            let mut permit = in_flight.take(&endpoint("e1"), false);
            permit.answered();
            permit
        };

        let mut unrecorded: Vec<_> = (0..16).map(answered).collect();
        assert_eq!(in_flight.rooms().all, Room { all: 0, retries: 0 });

        unrecorded.pop();
        assert_eq!(in_flight.rooms().all, Room { all: 1, retries: 1 });
    }

    #[test]
    fn of_who_is_left_alone_nothing_is_leased_and_no_permit_is_waited_for() {
        let in_flight = in_flight(8, 4);
        let _permits = ["e1", "e2"].map(|id| in_flight.take(&endpoint(id), false));

        let rooms = in_flight.rooms().without([endpoint("e1"), endpoint("e3")].into());

        assert_eq!(rooms.full(), [&endpoint("e1"), &endpoint("e3")].into());
        assert_eq!(rooms.busy.len(), 3, "each of them once");
        assert!(!rooms.are_scarce());
    }

    #[tokio::test]
    async fn only_what_is_given_back_is_news() {
        let in_flight = in_flight(8, 4);
        let permit = in_flight.take(&endpoint("e1"), false);
        assert!(in_flight.given_back().now_or_never().is_none());

        drop(permit);

        in_flight.given_back().await;
        in_flight.ended().await;
    }
}
