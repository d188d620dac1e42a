//! What may be leased now, and what follows from that of what is still due.

use std::collections::{HashMap, HashSet};

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
