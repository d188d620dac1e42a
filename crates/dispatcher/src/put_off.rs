//! Deliveries that are put off: there was no place to look up the host of their endpoint.
//!
//! Nobody was asked anything. So this is no attempt: nothing is recorded, nothing is held against the endpoint, and the lease is
//! given back. A little later the delivery is due again, for whoever has a place then.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use database::due::Leased;
use tokio::time::Instant;
use tracing::warn;

use crate::resolver::NoPlace;

/// As long as a place was waited for in vain.
pub(crate) const PAUSE: Duration = Duration::from_secs(5);

/// How often it is said of an account: one that has names enough which do not answer puts off hundreds of deliveries a minute.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Says that deliveries are put off, now and then.
#[derive(Debug, Default)]
pub(crate) struct PutOff {
    said: Mutex<HashMap<String, Instant>>,
}

impl PutOff {
    pub(crate) fn note(&self, leased: &Leased, no_place: NoPlace, now: Instant) {
        let account = &leased.target.account_id;
        if !self.is_to_be_said(account, now) {
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

    fn is_to_be_said(&self, account: &str, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, said| now < *said + SAID_EVERY);
        match said.entry(account.to_owned()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(now);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_minute_of_each_account() {
        let (put_off, now) = (PutOff::default(), Instant::now());
        let just_before = now + SAID_EVERY - Duration::from_millis(1);

        let said = [("acme", now), ("acme", just_before), ("other", just_before), ("acme", now + SAID_EVERY)]
            .map(|(account, at)| put_off.is_to_be_said(account, at));

        assert_eq!(said, [true, false, true, true]);
    }
}
