//! The places on the desk and the bytes in them, and how they are shared: accounts share what there is, and the endpoints of an
//! account what it may have (`fairness.rs`). So an endpoint that is alone has a quarter of all, its account's others another
//! eighth at least, and another account a quarter, whoever hangs, and however large what he is sent.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

use database::due::LARGEST_BROUGHT;
use vocabulary::EndpointId;

use crate::fairness::share;

/// Of all that waits.
pub(super) const BYTES: usize = 32 << 20;
/// Of one delivery: it is in memory for as long as its customer takes, and as many as there are permits.
pub(super) const LARGEST: usize = LARGEST_BROUGHT as usize;
/// Who has so few runs out of nothing that matters: one lease brings as many.
const A_LEASE: usize = 64;

/// Places, set aside or used.
#[derive(Debug, Default)]
pub(super) struct Places {
    limit: Amount,
    taken: Amount,
    accounts: HashMap<String, Amount>,
    endpoints: HashMap<EndpointId, Amount>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Amount {
    places: usize,
    bytes: usize,
}

impl Places {
    /// So many, and one at least.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: Amount { places: limit.max(1), bytes: BYTES }, ..Self::default() }
    }

    /// Takes a place for a delivery of so many bytes, if its endpoint may have another.
    pub(super) fn take(&mut self, account: &str, endpoint: &EndpointId, bytes: usize) -> bool {
        let one = Amount { places: 1, bytes };
        let (own, part) = self.part(account, endpoint);
        if bytes > LARGEST || !own.plus(one).is_within(part) {
            return false;
        }
        self.taken = self.taken.plus(one);
        add(&mut self.accounts, account, one);
        add(&mut self.endpoints, endpoint, one);
        true
    }

    pub(super) fn give_back(&mut self, account: &str, endpoint: &EndpointId, bytes: usize) {
        let one = Amount { places: 1, bytes };
        // A desk that was cleared meanwhile knows nothing of it.
        if remove(&mut self.endpoints, endpoint, one) && remove(&mut self.accounts, account, one) {
            self.taken = self.taken.minus(one);
        }
    }

    /// Whether an endpoint has much of what it may have. A group may owe it hundreds more, and another lane as many.
    pub(super) fn are_few_for(&self, account: &str, endpoint: &EndpointId) -> bool {
        let (own, part) = self.part(account, endpoint);
        let much = Amount { places: part.places / 4, bytes: part.bytes / 4 };
        own.places > A_LEASE && !own.is_within(much)
    }

    /// What an endpoint has, and what it may have.
    fn part(&self, account: &str, endpoint: &EndpointId) -> (Amount, Amount) {
        let own = self.endpoints.get(endpoint).copied().unwrap_or_default();
        let of_account = self.accounts.get(account).copied().unwrap_or_default();
        let account_may = self.limit.shared_with(self.taken.minus(of_account));
        (own, account_may.shared_with(of_account.minus(own)))
    }

    #[cfg(test)]
    pub(super) fn are_all_free(&self) -> bool {
        self.taken == Amount::default() && self.accounts.is_empty() && self.endpoints.is_empty()
    }
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self { places: self.places + other.places, bytes: self.bytes + other.bytes }
    }

    fn minus(self, other: Self) -> Self {
        Self { places: self.places - other.places, bytes: self.bytes - other.bytes }
    }

    fn is_within(self, most: Self) -> bool {
        self.places <= most.places && self.bytes <= most.bytes
    }

    /// What one may have of it while the others have so much.
    fn shared_with(self, others: Self) -> Self {
        Self { places: share(self.places, others.places), bytes: share(self.bytes, others.bytes) }
    }
}

fn add<K, I>(amounts: &mut HashMap<K, Amount>, id: &I, more: Amount)
where
    K: Borrow<I> + Eq + Hash,
    I: Eq + Hash + ToOwned<Owned = K> + ?Sized,
{
    match amounts.get_mut(id) {
        Some(amount) => *amount = amount.plus(more),
        None => drop(amounts.insert(id.to_owned(), more)),
    }
}

/// Whoever has nothing left is forgotten; says whether he had anything.
fn remove<K, I>(amounts: &mut HashMap<K, Amount>, id: &I, less: Amount) -> bool
where
    K: Borrow<I> + Eq + Hash,
    I: Eq + Hash + ?Sized,
{
    let Some(amount) = amounts.get_mut(id) else { return false };
    *amount = amount.minus(less);
    if amount.places == 0 {
        amounts.remove(id);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: usize = 2048;

    fn endpoint(id: &str) -> EndpointId {
        id.parse().unwrap()
    }

    /// Takes all that one endpoint can get, and says how much that is.
    fn fill(places: &mut Places, account: &str, id: &str, bytes: usize) -> usize {
        std::iter::repeat_with(|| places.take(account, &endpoint(id), bytes)).take_while(|has_place| *has_place).count()
    }

    /// Forty endpoints of one account, which take until none gets any more.
    fn crowd(places: &mut Places, bytes: usize) -> usize {
        let ids: Vec<_> = (0..40).map(|number| endpoint(&format!("crowd-{number}"))).collect();
        let mut all_take = || ids.iter().filter(|id| places.take("crowd", id, bytes)).count();
        std::iter::from_fn(|| Some(all_take()).filter(|taken| *taken > 0)).sum()
    }

    #[test]
    fn an_account_leaves_half_of_the_places_to_others_however_many_endpoints_it_has() {
        let mut places = Places::new(PLACES);

        let taken = crowd(&mut places, 1);

        assert!(taken <= PLACES / 2 && taken > PLACES / 2 - 40, "{taken}");
        assert!(fill(&mut places, "other", "answers", 1) >= PLACES / 8);
    }

    #[test]
    fn an_account_leaves_half_of_the_bytes_to_others_however_many_endpoints_it_has() {
        let mut places = Places::new(PLACES);

        let taken = crowd(&mut places, LARGEST);

        assert!(taken <= BYTES / LARGEST / 2 && taken > BYTES / LARGEST / 2 - 40, "{taken}");
        assert!(fill(&mut places, "other", "answers", LARGEST) >= BYTES / LARGEST / 8);
    }

    #[test]
    fn an_endpoint_has_half_of_what_its_mates_leave_of_what_their_account_may_have() {
        let mut places = Places::new(PLACES);

        let had = ["hangs", "hangs-too", "answers"].map(|id| fill(&mut places, "acme", id, 1));

        assert_eq!(had, [PLACES / 4, PLACES / 8, PLACES / 16]);
    }

    #[test]
    fn what_no_lease_would_bring_has_no_place_though_there_is_memory() {
        let mut places = Places::new(PLACES);

        assert!(!places.take("acme", &endpoint("large"), LARGEST + 1));
        assert!(places.take("acme", &endpoint("large"), LARGEST));
    }

    #[test]
    fn whoever_has_given_everything_back_is_forgotten() {
        let mut places = Places::new(PLACES);
        let had = fill(&mut places, "acme", "bot", LARGEST);

        (0..had).for_each(|_| places.give_back("acme", &endpoint("bot"), LARGEST));

        assert!(places.are_all_free());
        places.give_back("acme", &endpoint("bot"), 1);
        assert_eq!(fill(&mut places, "acme", "bot", LARGEST), had, "what was never taken is not given back either");
    }

    #[test]
    fn places_are_few_once_a_quarter_of_what_one_may_have_is_taken_in_number_or_in_bytes() {
        let until_few = |bytes| {
            let mut places = Places::new(PLACES);
            let takes =
                || places.take("acme", &endpoint("bot"), bytes) && !places.are_few_for("acme", &endpoint("bot"));
            std::iter::repeat_with(takes).take_while(|goes_on| *goes_on).count()
        };

        assert_eq!(until_few(1), PLACES / 4 / 4);
        assert_eq!(until_few(LARGEST / 2), BYTES / (LARGEST / 2) / 4 / 4);
        assert_eq!(until_few(LARGEST), A_LEASE, "one lease brings as many");
    }
}
