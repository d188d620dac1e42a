//! The desk: where a worker hands over what it has just committed, if a dispatcher runs in the same process.
//!
//! A delivery that is handed over is written as leased already, so that nobody has to find it, lease it and read its body
//! back. The row in `due` stands all the same: should the process die, the lease ends, and somebody else sends.
//!
//! Places are set aside before the transaction writes, because a lease that nobody works on holds a delivery up; what finds
//! no place is left to whoever leases next. Stages know nothing of each other, so what stands behind the desk is the
//! binary's to say.

use std::{sync::Arc, time::Duration};

use database::{due::Leased, endpoints::Subscription};
use futures::future::BoxFuture;
use tokio::time::Instant;
use vocabulary::EndpointId;

/// Takes deliveries from a worker, to have them sent.
pub trait Desk: Send + Sync + 'static {
    /// How long what it takes is to be leased.
    fn lease(&self) -> Duration;

    /// Waits until there are places, for as long as waiting is worth while; there may be none at the end of it. What keeps a
    /// worker from running ahead of what can be sent.
    fn has_places(&self) -> BoxFuture<'_, ()>;

    /// Sets a place aside for a delivery of so many bytes to an endpoint of this account, or says that there is none.
    fn set_aside(&self, account: &str, endpoint: &EndpointId, bytes: usize) -> bool;

    /// A place that was set aside is not needed.
    fn give_back(&self, account: &str, endpoint: &EndpointId, bytes: usize);

    /// Takes deliveries, each to the place that was set aside for it. Their leases last until `ends` at least.
    fn take(&self, deliveries: Vec<Leased>, ends: Instant);
}

/// Places that were set aside and not used yet. They are given back when dropped: with the transaction that failed.
pub(crate) struct Places {
    desk: Option<Arc<dyn Desk>>,
    held: Vec<(Arc<Subscription>, usize)>,
    /// From before the transaction began, so that nothing is believed to be leased that is not.
    since: Instant,
}

impl Places {
    /// None yet.
    pub(crate) fn at(desk: Option<&Arc<dyn Desk>>) -> Self {
        Self { desk: desk.cloned(), held: Vec::new(), since: Instant::now() }
    }

    /// How long what has a place is leased.
    pub(crate) fn lease(&self) -> Duration {
        self.desk.as_ref().map_or(Duration::ZERO, |desk| desk.lease())
    }

    /// Whether there is a place for a delivery of so many bytes; then it is set aside.
    pub(crate) fn set_aside(&mut self, to: &Arc<Subscription>, bytes: usize) -> bool {
        let (account, endpoint) = (&to.target.account_id, &to.endpoint_id);
        let has_place = self.desk.as_ref().is_some_and(|desk| desk.set_aside(account, endpoint, bytes));
        if has_place {
            self.held.push((to.clone(), bytes));
        }
        has_place
    }

    /// Hands over what is committed now.
    pub(crate) fn hand_over(mut self, deliveries: Vec<Leased>) {
        self.held.clear();
        if let Some(desk) = self.desk.as_ref().filter(|_| !deliveries.is_empty()) {
            desk.take(deliveries, self.since + desk.lease());
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for (to, bytes) in self.held.drain(..) {
            if let Some(desk) = &self.desk {
                desk.give_back(&to.target.account_id, &to.endpoint_id, bytes);
            }
        }
    }
}
