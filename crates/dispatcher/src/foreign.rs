//! Endpoints that are left to other processes: what is sealed in them is sealed under a master key that this one was not
//! given, or their account has a range that this one cannot read.
//!
//! Another may have the key, while a master key is replaced or after a slip of the pen; another may be of a later version. So
//! this is no attempt: nothing is sent, nothing is recorded, and the lease is given back. For a while nothing more of such an
//! endpoint is leased here, so that those who can send find its deliveries free, and this process its room for others. If
//! nobody can, deliveries stay pending and due; what no key opens, `latchhook doctor` names.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use database::{
    due::Leased,
    endpoints::{Target, secrets::in_force},
};
use tokio::time::Instant;
use tracing::error;
use vocabulary::{EndpointId, MasterKey, chain};

use crate::{address::CidrError, granted::Granted, left_alone::LeftAlone};

/// How long an endpoint is left alone: what is leased in vain once in so long is no burden, and whoever has sealed it anew
/// waits no longer.
const PAUSE: Duration = Duration::from_secs(60);

/// Tells them from others.
pub(crate) struct Foreign {
    master: Arc<MasterKey>,
    left_alone: Arc<LeftAlone>,
}

impl Foreign {
    pub(crate) fn new(master: Arc<MasterKey>, left_alone: Arc<LeftAlone>) -> Self {
        Self { master, left_alone }
    }

    /// Leaves alone, from `now` on, whose of these deliveries are for others. That is said once in each pause.
    pub(crate) fn note<B>(&self, deliveries: &[Leased<B>], now: Instant, wall: DateTime<Utc>) {
        for Leased { endpoint_id, target, .. } in deliveries {
            let Some(lack) = self.lack(target, wall) else { continue };
            if self.left_alone.leave(endpoint_id, now, PAUSE) {
                say(endpoint_id, &target.account_id, &lack);
            }
        }
    }

    fn lack(&self, target: &Target, wall: DateTime<Utc>) -> Option<Lack> {
        let no_range = Granted::of(&target.allowed_private).err().map(Lack::Range);
        no_range.or_else(|| self.lacks_key_of(target, wall).then_some(Lack::Key))
    }

    /// What is damaged is no matter of keys: nobody opens it, and an attempt says so. Nor is a secret that has ended.
    fn lacks_key_of(&self, target: &Target, wall: DateTime<Utc>) -> bool {
        let signing = in_force(&target.secrets, &target.secret_ends, wall);
        signing.chain(&target.access).any(|sealed| self.master.lacks_key_of(sealed))
    }
}

/// What this process lacks to send.
#[derive(Debug, thiserror::Error)]
enum Lack {
    #[error(
        "it is sealed under a master key that LATCHHOOK_MASTER_KEY does not name here; add that key behind the first one \
         (latchhook master-key status counts what no key opens)"
    )]
    Key,
    #[error(
        "its account has a range that this version cannot read; run the version that gave it, or give the account's ranges \
         anew (latchhook account set --allow-private)"
    )]
    Range(#[source] CidrError),
}

fn say(id: &EndpointId, account: &str, lack: &Lack) {
    error!(
        endpoint.id = %id,
        account.id = account,
        pause_s = PAUSE.as_secs(),
        "{id} is left to other processes: {}",
        chain(lack)
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
            again: false,
            webhook_id: "msg".to_owned(),
            body: Bytes::new(),
            target: Arc::new(target),
            gate: None,
            lane: None,
            part: 64,
        }
    }

    /// What is owed to an endpoint whose only secret is this.
    fn with_secret(id: &str, secret: Vec<u8>) -> Leased {
        owed(id, Target { secrets: vec![secret], ..Target::default() })
    }

    /// Likewise, of an account that has this range.
    fn with_ranges(id: &str, secret: Vec<u8>, range: &str) -> Leased {
        owed(id, Target { secrets: vec![secret], allowed_private: vec![range.to_owned()], ..Target::default() })
    }

    #[test]
    fn who_needs_another_key_or_another_version_is_left_alone_and_nobody_else_is() {
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
            with_ranges("e4", sealed(&own, "e4"), "10.0.0.0/99"),
            with_ranges("e5", sealed(&own, "e5"), "10.0.0.0/8"),
        ];
        let now = Instant::now();
        let left_alone = Arc::default();

        Foreign::new(Arc::new(own), Arc::clone(&left_alone)).note(&deliveries, now, DateTime::UNIX_EPOCH);

        let mut noted = left_alone.among(&deliveries, now);
        noted.sort();
        assert_eq!(noted, ["e2", "e3", "e4"].map(|id| id.parse().unwrap()));
        assert_eq!(left_alone.closed(now), noted.into_iter().collect());
    }
}
