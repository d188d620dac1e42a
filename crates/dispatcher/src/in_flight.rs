//! What is being sent just now, and how much more may be.
//!
//! Three limits: over all, for each account, and for each endpoint, so that a customer who hangs holds his own share and nobody
//! else's, however many endpoints he has. What an account may have depends on what the others have (`fairness.rs`); a lease may be
//! for any number of accounts, so it may have half of what is free, as one newcomer might.
//!
//! Of each limit retries get half at most: that is reserved for first attempts. What was answered no longer counts there, but it
//! counts until it is recorded, so that a slow Postgres slows the sending down and nothing piles up in memory.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use database::{
    due::{Leased, Room},
    endpoints::Target,
};
use tokio::sync::Notify;
use vocabulary::EndpointId;

use crate::fairness::share;

mod rooms;

pub(crate) use rooms::Rooms;
use rooms::Scarce;

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
    accounts: HashMap<String, Count>,
    endpoints: HashMap<EndpointId, Count>,
    unrecorded: usize,
    /// Whose permit is to be heard of when it is given back.
    scarce: Scarce,
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
    /// Whose account it is of.
    target: Arc<Target>,
    retry: bool,
    is_answered: bool,
}

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Not even for another endpoint.
    ForAll,
    /// For this endpoint, or for its account.
    ForEndpoint,
}

/// How much of the limits one may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Portion {
    /// All but a quarter, which is left to what is leased.
    OfDesk,
    /// All.
    All,
}

impl Portion {
    fn of(self, limit: usize) -> usize {
        match self {
            Self::OfDesk => (limit - limit.div_ceil(4)).max(1),
            Self::All => limit,
        }
    }
}

impl InFlight {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let (load, given_back, ended) = Default::default();
        Arc::new(Self { limits, load, given_back, ended })
    }

    pub(crate) fn rooms(&self) -> Rooms {
        let (mut load, limits) = (self.load(), self.limits);
        let rooms = Rooms {
            all: load.room_of_lease(limits),
            per_account: load.room_of_account(Count::default(), limits, Portion::All),
            busy_accounts: rooms_of(&load.accounts, |own| load.room_of_account(own, limits, Portion::All)),
            per_endpoint: Count::default().room(limits.per_endpoint),
            busy: rooms_of(&load.endpoints, |own| own.room(limits.per_endpoint)),
            closed: HashSet::new(),
        };
        load.scarce = rooms.scarce();
        rooms
    }

    /// Takes a permit for what is leased already: the caller has looked at the rooms before it leased.
    pub(crate) fn take<B>(self: &Arc<Self>, leased: &Leased<B>) -> Permit {
        self.add(self.load(), leased)
    }

    /// Takes a permit for a first attempt, if this portion of the limits is not used up.
    pub(crate) fn try_take(self: &Arc<Self>, leased: &Leased, portion: Portion) -> Result<Permit, Full> {
        let (load, limits) = (self.load(), self.limits);
        if load.room(limits, portion).all == 0 {
            return Err(Full::ForAll);
        }
        let (account, endpoint) = load.counts(leased);
        let of_account = load.room_of_account(account, limits, portion);
        if of_account.all == 0 || endpoint.room(portion.of(limits.per_endpoint)).all == 0 {
            return Err(Full::ForEndpoint);
        }
        Ok(self.add(load, leased))
    }

    fn add<B>(self: &Arc<Self>, mut load: MutexGuard<'_, Load>, leased: &Leased<B>) -> Permit {
        let permit = Permit {
            in_flight: self.clone(),
            endpoint_id: leased.endpoint_id.clone(),
            target: leased.target.clone(),
            retry: leased.is_retry(),
            is_answered: false,
        };
        load.add(&permit);
        permit
    }

    /// Waits until room was given back that there was none of when the rooms were last looked at, since the last time that this was
    /// waited for. For one who waits.
    pub(crate) async fn given_back(&self) {
        self.given_back.notified().await;
    }

    fn hear_of(&self, makes_room: bool) {
        if makes_room {
            self.given_back.notify_one();
        }
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

/// What each of them can have still.
fn rooms_of<K: Clone>(counts: &HashMap<K, Count>, room: impl Fn(Count) -> Room) -> Vec<(K, Room)> {
    counts.iter().map(|(id, count)| (id.clone(), room(*count))).collect()
}

impl Permit {
    /// The customer has answered, or will not: the next may be sent to him. What came of it is still to be recorded.
    pub(crate) fn answered(&mut self) {
        if std::mem::replace(&mut self.is_answered, true) {
            return;
        }
        let mut load = self.in_flight.load();
        load.remove(self);
        load.unrecorded += 1;
        let makes_room = load.scarce.has(&self.endpoint_id);
        drop(load);
        self.in_flight.hear_of(makes_room);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut load = self.in_flight.load();
        // What its endpoint may have it was given back when that answered.
        let makes_room = if self.is_answered { load.scarce.any } else { load.scarce.has(&self.endpoint_id) };
        if self.is_answered {
            load.unrecorded -= 1;
        } else {
            load.remove(self);
        }
        let is_empty = load.is_empty();
        drop(load);
        self.in_flight.hear_of(makes_room);
        if is_empty {
            self.in_flight.ended.notify_waiters();
        }
    }
}

impl Load {
    fn is_empty(&self) -> bool {
        self.all.all == 0 && self.unrecorded == 0
    }

    /// Within a portion of the limit, and within what may wait to be recorded.
    fn room(&self, limits: Limits, portion: Portion) -> Room {
        let unrecorded = limits.unrecorded.saturating_sub(self.unrecorded + self.all.all);
        self.all.room(portion.of(limits.in_flight)).within(unrecorded)
    }

    /// For all whom it is for together.
    fn room_of_lease(&self, limits: Limits) -> Room {
        self.room(limits, Portion::All).within(share(limits.in_flight, self.all.all))
    }

    /// Of an account that has so many.
    fn room_of_account(&self, own: Count, limits: Limits, portion: Portion) -> Room {
        own.room(portion.of(share(limits.in_flight, self.all.all - own.all)))
    }

    /// What there is for the account and the endpoint of a delivery.
    fn counts(&self, leased: &Leased) -> (Count, Count) {
        let account = self.accounts.get(&leased.target.account_id);
        (account.copied().unwrap_or_default(), self.endpoints.get(&leased.endpoint_id).copied().unwrap_or_default())
    }

    fn add(&mut self, Permit { endpoint_id, target, retry, .. }: &Permit) {
        self.all.add(*retry);
        add(&mut self.accounts, &target.account_id, *retry);
        add(&mut self.endpoints, endpoint_id, *retry);
    }

    fn remove(&mut self, Permit { endpoint_id, target, retry, .. }: &Permit) {
        self.all.remove(*retry);
        remove(&mut self.accounts, &target.account_id, *retry);
        remove(&mut self.endpoints, endpoint_id, *retry);
    }
}

/// To ask for an entry would take a copy of the id each time.
fn add<K: Clone + Eq + Hash>(counts: &mut HashMap<K, Count>, id: &K, retry: bool) {
    match counts.get_mut(id) {
        Some(count) => count.add(retry),
        None => counts.entry(id.clone()).or_default().add(retry),
    }
}

/// Whoever has nothing left is forgotten.
fn remove<K: Eq + Hash>(counts: &mut HashMap<K, Count>, id: &K, retry: bool) {
    if let Some(count) = counts.get_mut(id) {
        count.remove(retry);
        if count.all == 0 {
            counts.remove(id);
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
mod tests;
