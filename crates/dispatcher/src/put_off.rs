//! Deliveries that are put off: there was no place to look up the host of their endpoint.
//!
//! Nobody was asked anything. So this is no attempt: nothing is recorded, nothing is held against the endpoint, and the lease is
//! given back. A little later the delivery is due again, for whoever has a place then. As long as that the endpoint is left
//! alone here: what else it is owed would find no place either.
//!
//! An account whose names are silent puts off hundreds at once. So one task gives their leases back, as many as there are in one
//! statement, and their places in flight are others' before that.

use std::{sync::Arc, time::Duration};

use database::{Database, due::Leased};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    time::Instant,
};
use tracing::{error, warn};

use crate::{in_flight::Permit, left_alone::LeftAlone, pauses::Pauses, resolver::NoPlace, unsent::put_off};

/// Longer than a place is waited for, so that what waits in vain takes up little of what is on the way.
pub(crate) const PAUSE: Duration = Duration::from_secs(5);

/// How often it is said of an account: one that has names enough which do not answer puts off hundreds of deliveries a minute.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// A delivery whose lease is to be given back.
type Unasked = (Leased, Permit);

/// Puts deliveries off, and says so now and then.
pub(crate) struct PutOff {
    left_alone: Arc<LeftAlone>,
    to_release: UnboundedSender<Unasked>,
    said: Pauses<String>,
}

impl PutOff {
    pub(crate) fn new(left_alone: Arc<LeftAlone>, to_release: UnboundedSender<Unasked>) -> Self {
        Self { left_alone, to_release, said: Pauses::default() }
    }

    /// Puts a delivery off, and says whether that is news of its endpoint.
    pub(crate) fn put_off(&self, leased: Leased, no_place: NoPlace, mut permit: Permit, now: Instant) -> bool {
        self.say(&leased, no_place, now);
        let is_news = self.left_alone.leave(&leased.endpoint_id, now, PAUSE);
        permit.answered();
        if self.to_release.send((leased, permit)).is_err() {
            error!("who gives leases back is gone; a delivery that was put off waits for its lease to end");
        }
        is_news
    }

    fn say(&self, leased: &Leased, no_place: NoPlace, now: Instant) {
        let account = &leased.target.account_id;
        if !self.said.begin(account.clone(), now, SAID_EVERY) {
            return;
        }
        warn!(
            account.id = account,
            endpoint.id = %leased.endpoint_id,
            webhook.id = leased.webhook_id,
            pause_s = PAUSE.as_secs(),
            error = &no_place as &dyn std::error::Error,
            "{} is put off, with others of account {account}: nobody could be asked for the address of {}",
            leased.webhook_id,
            leased.endpoint_id
        );
    }
}

/// Gives back what is put off, until nobody can put off any more: in one statement whatever was put off while the last one ran,
/// `batch` at most.
pub(crate) async fn release_all(database: Database, mut unasked: UnboundedReceiver<Unasked>, batch: usize) {
    let mut next = Vec::new();
    while unasked.recv_many(&mut next, batch).await > 0 {
        put_off(&database, next.drain(..), PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn it_is_said_once_a_minute_of_each_account() {
        let (put_off, now) = (PutOff::new(Arc::default(), unbounded_channel().0), Instant::now());
        let just_before = now + SAID_EVERY - Duration::from_millis(1);

        let said = [("acme", now), ("acme", just_before), ("other", just_before), ("acme", now + SAID_EVERY)]
            .map(|(account, at)| put_off.said.begin(account.to_owned(), at, SAID_EVERY));

        assert_eq!(said, [true, false, true, true]);
    }
}
