//! What is being sent just now, and how much more may be.
//!
//! Three limits: over all, for each account, and for each endpoint, so that a customer who hangs holds his own share and nobody
//! else's, however many endpoints he has. Of each limit retries get half at most: that is the share reserved for first attempts. What was answered no longer counts
//! there, but it counts until it is recorded, so that a slow Postgres slows the sending down and nothing piles up in memory.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use database::due::{Leased, Room};
use tokio::sync::Notify;
use vocabulary::EndpointId;

/// How much there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Sent just now.
    pub(crate) in_flight: usize,
    /// Of these, for one account.
    pub(crate) per_account: usize,
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
    account_id: String,
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
    pub(crate) per_account: Room,
    /// For whom something is being sent.
    pub(crate) busy_accounts: Vec<(String, Room)>,
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
        let (load, Limits { per_account, per_endpoint, .. }) = (self.load(), self.limits);
        Rooms {
            all: load.room(self.limits, Share::All),
            per_account: Count::default().room(per_account),
            busy_accounts: rooms_of(&load.accounts, per_account),
            per_endpoint: Count::default().room(per_endpoint),
            busy: rooms_of(&load.endpoints, per_endpoint),
            closed: HashSet::new(),
        }
    }

    /// Takes a permit for what is leased already: the caller has looked at the rooms before it leased.
    pub(crate) fn take<B>(self: &Arc<Self>, leased: &Leased<B>) -> Permit {
        self.add(self.load(), leased)
    }

    /// Takes a permit for a first attempt, if this share of the limits is not used up.
    pub(crate) fn try_take(self: &Arc<Self>, leased: &Leased, share: Share) -> Result<Permit, Full> {
        let load = self.load();
        if load.room(self.limits, share).all == 0 {
            return Err(Full::ForAll);
        }
        let (account, endpoint) = load.counts(leased);
        let Limits { per_account, per_endpoint, .. } = self.limits;
        if account.room(share.of(per_account)).all == 0 || endpoint.room(share.of(per_endpoint)).all == 0 {
            return Err(Full::ForEndpoint);
        }
        Ok(self.add(load, leased))
    }

    fn add<B>(self: &Arc<Self>, mut load: MutexGuard<'_, Load>, leased: &Leased<B>) -> Permit {
        let permit = Permit {
            in_flight: self.clone(),
            endpoint_id: leased.endpoint_id.clone(),
            account_id: leased.target.account_id.clone(),
            retry: leased.is_retry(),
            is_answered: false,
        };
        load.add(&permit);
        permit
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

/// What each of them can have still.
fn rooms_of<K: Clone>(counts: &HashMap<K, Count>, limit: usize) -> Vec<(K, Room)> {
    counts.iter().map(|(id, count)| (id.clone(), count.room(limit))).collect()
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

    /// The endpoints of which nothing could have been leased, but for those whose account has all that it may have.
    pub(crate) fn full(&self) -> HashSet<&EndpointId> {
        self.busy.iter().filter(|(_, room)| room.all == 0).map(|(id, _)| id).collect()
    }

    /// Whether an account has all that it may have, with what was just leased: any of its endpoints may have more due then, and
    /// which ones it has is not known here.
    pub(crate) fn hide_some<B>(&self, leased: &[Leased<B>]) -> bool {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for leased in leased {
            *counts.entry(&leased.target.account_id).or_default() += 1;
        }
        let has_all = |(id, room): &(String, Room)| counts.get(id.as_str()).copied().unwrap_or_default() >= room.all;
        self.busy_accounts.iter().any(has_all) || counts.values().any(|count| *count >= self.per_account.all)
    }

    /// Whether the want of room may be why something due was not leased.
    pub(crate) fn are_scarce(&self) -> bool {
        let scarce = |room: &Room| room.all == 0 || room.retries == 0;
        let any_account = self.busy_accounts.iter().any(|(_, room)| scarce(room));
        any_account || scarce(&self.all) || self.busy.iter().any(|(id, room)| scarce(room) && !self.closed.contains(id))
    }
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
            load.remove(self);
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

    /// What there is for the account and the endpoint of a delivery.
    fn counts(&self, leased: &Leased) -> (Count, Count) {
        let account = self.accounts.get(&leased.target.account_id);
        (account.copied().unwrap_or_default(), self.endpoints.get(&leased.endpoint_id).copied().unwrap_or_default())
    }

    fn add(&mut self, Permit { endpoint_id, account_id, retry, .. }: &Permit) {
        self.all.add(*retry);
        self.accounts.entry(account_id.clone()).or_default().add(*retry);
        self.endpoints.entry(endpoint_id.clone()).or_default().add(*retry);
    }

    fn remove(&mut self, Permit { endpoint_id, account_id, retry, .. }: &Permit) {
        self.all.remove(*retry);
        remove(&mut self.accounts, account_id, *retry);
        remove(&mut self.endpoints, endpoint_id, *retry);
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
