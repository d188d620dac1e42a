//! What may be leased now, and what follows from that of what is still due.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use database::due::{Leased, Room};
use vocabulary::EndpointId;

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
    pub(super) closed: HashSet<EndpointId>,
}

/// Whose permit makes room where there was none.
#[derive(Debug, Default)]
pub(super) struct Scarce {
    /// Anybody's: there was none for all together, or for an account, whose part grows with what others leave.
    pub(super) any: bool,
    endpoints: HashSet<EndpointId>,
}

impl Scarce {
    pub(super) fn has(&self, endpoint: &EndpointId) -> bool {
        self.any || self.endpoints.contains(endpoint)
    }
}

fn is_scarce(room: &Room) -> bool {
    room.all == 0 || room.retries == 0
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

    /// The accounts that have all that they may have, with what was just leased: any of their endpoints may have more due then, and
    /// which ones they have is not known here.
    pub(crate) fn full_accounts<B>(&self, leased: &[Leased<B>]) -> HashSet<String> {
        full(&self.busy_accounts, self.per_account, leased.iter().map(|leased| &leased.target.account_id))
    }

    /// Likewise the endpoints that may have more due: for want of room, or because they were leased all that was their part.
    pub(crate) fn full_endpoints<B>(&self, leased: &[Leased<B>]) -> HashSet<EndpointId> {
        let mut full = full(&self.busy, self.per_endpoint, leased.iter().map(|leased| &leased.endpoint_id));
        let mut brought: HashMap<&EndpointId, usize> = HashMap::new();
        for leased in leased {
            let brought = brought.entry(&leased.endpoint_id).or_default();
            *brought += 1;
            if *brought >= leased.part {
                full.insert(leased.endpoint_id.clone());
            }
        }
        full
    }

    /// Whether the want of room may be why something due was not leased.
    pub(crate) fn are_scarce(&self) -> bool {
        self.are_scarce_for_several() || self.busy.iter().any(|(id, room)| is_scarce(room) && !self.closed.contains(id))
    }

    fn are_scarce_for_several(&self) -> bool {
        is_scarce(&self.all) || self.busy_accounts.iter().any(|(_, room)| is_scarce(room))
    }

    pub(super) fn scarce(&self) -> Scarce {
        let scarce = self.busy.iter().filter(|(_, room)| is_scarce(room));
        Scarce { any: self.are_scarce_for_several(), endpoints: scarce.map(|(id, _)| id.clone()).collect() }
    }
}

/// Those of whom there is no room left, with what was leased.
fn full<'l, K: Clone + Eq + Hash + 'l>(
    busy: &[(K, Room)],
    each: Room,
    leased: impl Iterator<Item = &'l K>,
) -> HashSet<K> {
    let mut left: HashMap<&K, usize> = busy.iter().map(|(id, room)| (id, room.all)).collect();
    for id in leased {
        let left = left.entry(id).or_insert(each.all);
        *left = left.saturating_sub(1);
    }
    left.into_iter().filter(|(_, left)| *left == 0).map(|(id, _)| id.clone()).collect()
}
