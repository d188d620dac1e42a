//! Endpoints that are left to other processes: what is sealed in them is sealed under a master key that this one was not
//! given.
//!
//! Another may have it, while a master key is replaced or after a slip of the pen. So this is no attempt: nothing is sent,
//! nothing is recorded, and the lease is given back. For a while nothing more of such an endpoint is leased here, so that
//! those who have the key find its deliveries free, and this process its room for others. If nobody has the key, deliveries
//! stay pending and due, and `latchhook doctor` names them.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use database::{
    due::Leased,
    endpoints::{Target, secrets::in_force},
};
use tokio::time::Instant;
use tracing::error;
use vocabulary::{EndpointId, MasterKey};

/// How long an endpoint is left alone: what is leased in vain once in so long is no burden, and whoever has sealed it anew
/// waits no longer.
const PAUSE: Duration = Duration::from_secs(60);

/// Tells them from others, and remembers them.
pub(crate) struct Foreign {
    master: Arc<MasterKey>,
    until: Mutex<HashMap<EndpointId, Instant>>,
}

impl Foreign {
    pub(crate) fn new(master: Arc<MasterKey>) -> Self {
        Self { master, until: Mutex::default() }
    }

    /// The endpoints of these deliveries that are to be left to others, each once. They are left alone from `now` on, and
    /// that is said once in each pause.
    pub(crate) fn note<B>(&self, deliveries: &[Leased<B>], now: Instant, wall: DateTime<Utc>) -> Vec<EndpointId> {
        let foreign = deliveries.iter().filter(|leased| self.lacks_key_of(&leased.target, wall));
        let foreign: HashSet<_> = foreign.map(|leased| &leased.endpoint_id).collect();
        if foreign.is_empty() {
            return Vec::new();
        }
        let mut until = self.until(now);
        for id in &foreign {
            if let Entry::Vacant(vacant) = until.entry((*id).clone()) {
                vacant.insert(now + PAUSE);
                say(id);
            }
        }
        foreign.into_iter().cloned().collect()
    }

    /// The endpoints that are left alone at `now`.
    pub(crate) fn closed(&self, now: Instant) -> HashSet<EndpointId> {
        self.until(now).keys().cloned().collect()
    }

    /// What is damaged is no matter of keys: nobody opens it, and an attempt says so. Nor is a secret that has ended.
    fn lacks_key_of(&self, target: &Target, wall: DateTime<Utc>) -> bool {
        let signing = in_force(&target.secrets, &target.secret_ends, wall);
        signing.chain(&target.access).any(|sealed| self.master.lacks_key_of(sealed))
    }

    /// Those whose pause is not over.
    fn until(&self, now: Instant) -> MutexGuard<'_, HashMap<EndpointId, Instant>> {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.retain(|_, until| now < *until);
        until
    }
}

fn say(id: &EndpointId) {
    error!(
        endpoint.id = %id,
        pause_s = PAUSE.as_secs(),
        "{id} is left to other processes: it is sealed under a master key that LATCHHOOK_MASTER_KEY does not name here; add \
         that key behind the first one (latchhook master-key status counts what no key opens)"
    );
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;

    fn key() -> MasterKey {
        MasterKey::parse(&MasterKey::generate()).unwrap()
    }

    fn owed(id: &str, target: Target) -> Leased {
        Leased {
            event_id: Uuid::nil(),
            endpoint_id: id.parse().unwrap(),
            lease: 1,
            attempts: 0,
            webhook_id: "msg".to_owned(),
            body: Bytes::new(),
            target: Arc::new(target),
            gate: None,
            lane: None,
        }
    }

    /// What is owed to an endpoint whose only secret is this.
    fn with_secret(id: &str, secret: Vec<u8>) -> Leased {
        owed(id, Target { secrets: vec![secret], ..Target::default() })
    }

    #[test]
    fn who_needs_another_key_is_left_alone_and_nobody_else_is() {
        let (own, another) = (key(), key());
        let sealed = |by: &MasterKey, id: &str| by.seal(&format!("endpoint:{id}"), b"secret");
        let with_access =
            Target { secrets: vec![sealed(&own, "e3")], access: Some(sealed(&another, "e3")), ..Target::default() };
        let deliveries = [
            with_secret("e1", sealed(&own, "e1")),
            with_secret("e2", sealed(&another, "e2")),
            with_secret("e2", sealed(&another, "e2")),
            owed("e3", with_access),
            with_secret("moved", sealed(&own, "e1")),
            with_secret("cut", sealed(&another, "cut")[..10].to_vec()),
        ];
        let now = Instant::now();
        let foreign = Foreign::new(Arc::new(own));

        let mut noted = foreign.note(&deliveries, now, DateTime::UNIX_EPOCH);

        noted.sort();
        assert_eq!(noted, ["e2", "e3"].map(|id| id.parse().unwrap()));
        assert_eq!(foreign.closed(now), noted.into_iter().collect());
    }

    #[test]
    fn a_pause_ends_when_it_said_however_often_the_endpoint_was_met_meanwhile() {
        let foreign = Foreign::new(Arc::new(key()));
        let met = [with_secret("e1", key().seal("endpoint:e1", b"secret"))];
        let now = Instant::now();
        let just_before = now + PAUSE - Duration::from_millis(1);

        foreign.note(&met, now, DateTime::UNIX_EPOCH);
        foreign.note(&met, just_before, DateTime::UNIX_EPOCH);

        assert_eq!((foreign.closed(just_before).len(), foreign.closed(now + PAUSE).len()), (1, 0));
        foreign.note(&met, now + PAUSE, DateTime::UNIX_EPOCH);
        assert_eq!(foreign.closed(now + PAUSE).len(), 1, "it is met again, and left alone again");
    }
}
