//! What sending to an endpoint takes, opened once: to open a secret and to read a URL for each attempt would cost more than
//! to sign it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use chrono::{DateTime, Utc};
use database::endpoints::{Target, open_sealed, secrets::in_force};
use http::{HeaderMap, Uri, uri::Scheme};
use rustls::sign::CertifiedKey;
use vocabulary::{EndpointId, MasterKey};

use crate::{
    access::{Access, Carried},
    client::Client,
    failure::detail,
    granted::Granted,
    outcome::Cause,
    pool::Place,
    signing::SigningSecret,
};

/// Endpoints that are kept. More than these, and all are opened anew: that is slower, and no more.
const MOST_KEPT: usize = 10_000;

const ALL_ENDED: &str = "all signing secrets of the endpoint have ended: give it a new one (latchhook endpoint rotate)";

/// Why nothing can be sent.
pub(crate) type Unsent = (Cause, String);

/// An endpoint's URL, secrets and access, as they are used.
pub(crate) struct Opened {
    /// What it was opened from.
    target: Arc<Target>,
    pub(crate) place: Place,
    /// In the order of the target's; none where one had ended when this was opened.
    secrets: Vec<Option<SigningSecret>>,
    /// What else its requests carry.
    pub(crate) headers: HeaderMap,
    identity: Option<Arc<CertifiedKey>>,
    /// Where its account's endpoints may be beside what is public.
    granted: Granted,
    own: OnceLock<Client>,
}

impl Opened {
    /// What sends to it: the client of all, or one of its own where it shows a certificate or its account is granted ranges.
    /// There are as many of those as there are such endpoints kept, at most; and what is changed or taken back is another
    /// target, which is opened anew and knows no connection that was made before.
    pub(crate) fn client<'c>(&'c self, of_all: &'c Client) -> &'c Client {
        if self.identity.is_none() && self.granted.is_empty() {
            return of_all;
        }
        self.own.get_or_init(|| {
            let granting = of_all.granting(self.granted.clone());
            self.identity.as_ref().map_or_else(|| granting.clone(), |identity| granting.showing(identity.clone()))
        })
    }

    /// The secrets that sign an attempt made at `now`. Asked at each attempt: one that has ended since it was opened signs
    /// nothing more.
    ///
    /// # Errors
    /// When all have ended. An unsigned request would be no delivery, so nothing is sent.
    pub(crate) fn secrets(&self, now: DateTime<Utc>) -> Result<Vec<&SigningSecret>, Unsent> {
        let signing: Vec<_> = in_force(&self.secrets, &self.target.secret_ends, now).flatten().collect();
        if signing.is_empty() {
            return Err((Cause::Secret, ALL_ENDED.to_owned()));
        }
        Ok(signing)
    }
}

/// Opens targets, and keeps them.
pub(crate) struct Targets {
    master: Arc<MasterKey>,
    opened: Mutex<HashMap<EndpointId, Arc<Opened>>>,
}

impl Targets {
    pub(crate) fn new(master: Arc<MasterKey>) -> Self {
        Self { master, opened: Mutex::default() }
    }

    /// What this target is, opened. One that was changed since is opened anew, by its contents: no clock and no revision
    /// can be wrong about that.
    ///
    /// # Errors
    /// The cause of failure of an attempt that cannot be made, with the detail for the operator.
    pub(crate) fn open(
        &self,
        endpoint: &EndpointId,
        target: &Arc<Target>,
        now: DateTime<Utc>,
    ) -> Result<Arc<Opened>, Unsent> {
        let mut kept = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = kept.get(endpoint).filter(|kept| *kept.target == **target) {
            return Ok(opened.clone());
        }
        let place = Place::parse(&target.url).map_err(|refusal| (Cause::Guard, detail(&refusal)))?;
        let secrets = self.secrets(endpoint, target, now)?;
        let Carried { headers, identity } = self.access(endpoint, target, &place.uri)?;
        let granted = Granted::of(&target.allowed_private).map_err(|error| (Cause::Guard, detail(&error)))?;
        let own = OnceLock::new();
        let opened = Arc::new(Opened { target: target.clone(), place, secrets, headers, identity, granted, own });
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(endpoint.clone(), opened.clone());
        Ok(opened)
    }

    /// An unsigned request would be no delivery, so an endpoint without secrets is sent nothing. One that has ended need not
    /// open: the master key that it is sealed under may be gone.
    fn secrets(
        &self,
        endpoint: &EndpointId,
        target: &Target,
        now: DateTime<Utc>,
    ) -> Result<Vec<Option<SigningSecret>>, Unsent> {
        if target.secrets.is_empty() {
            return Err((Cause::Secret, "the endpoint has no signing secret".to_owned()));
        }
        let mut secrets: Vec<_> = target.secrets.iter().map(|_| None).collect();
        for (place, sealed) in in_force(target.secrets.iter().enumerate(), &target.secret_ends, now) {
            let opened = open_sealed(&self.master, endpoint.as_str(), sealed);
            let opened = opened.map_err(|error| (Cause::Secret, detail(&error)))?;
            secrets[place] = Some(SigningSecret::parse(&opened).map_err(|error| (Cause::Secret, detail(&error)))?);
        }
        Ok(secrets)
    }

    /// A request without what it is to carry would go to somebody who has not asked for it, or be refused by whoever has.
    fn access(&self, endpoint: &EndpointId, target: &Target, uri: &Uri) -> Result<Carried, Unsent> {
        let Some(sealed) = &target.access else { return Ok(Carried::default()) };
        let opened = open_sealed(&self.master, endpoint.as_str(), sealed);
        let opened = opened.map_err(|error| (Cause::Access, detail(&error)))?;
        let read = Access::from_json(&opened).and_then(|access| access.read(uri.scheme() == Some(&Scheme::HTTPS)));
        read.map_err(|error| (Cause::Access, detail(&error)))
    }
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use secrecy::ExposeSecret;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_771_000_000 + seconds, 0).unwrap()
    }

    /// An endpoint with so many secrets and these ends of theirs, opened.
    fn opened(secret_ends: &[Option<DateTime<Utc>>], secrets: usize) -> Arc<Opened> {
        let master = MasterKey::parse(&MasterKey::generate()).unwrap();
        let seal = |_| master.seal("endpoint:bot", SigningSecret::generate().expose_secret().as_bytes());
        let (url, secret_ends) = ("https://bot.example/".to_owned(), secret_ends.to_vec());
        let target = Target { url, secrets: (0..secrets).map(seal).collect(), secret_ends, ..Target::default() };
        let (id, target) = ("bot".parse().unwrap(), Arc::new(target));
        Targets::new(Arc::new(master)).open(&id, &target, at(-1)).unwrap_or_else(|_| panic!())
    }

    /// The places of the secrets that sign.
    fn signing(opened: &Opened, now: DateTime<Utc>) -> Vec<usize> {
        let place = |secret: &&SigningSecret| {
            opened.secrets.iter().position(|it| it.as_ref().is_some_and(|it| ptr::eq(it, *secret)))
        };
        opened.secrets(now).unwrap_or_default().iter().filter_map(place).collect()
    }

    #[test]
    fn a_secret_that_has_ended_signs_nothing_more_although_it_is_kept() {
        let opened = opened(&[Some(at(10)), None, Some(at(20))], 3);

        assert_eq!(signing(&opened, at(0)), [0, 1, 2]);
        assert_eq!(signing(&opened, at(9)), [0, 1, 2]);
        assert_eq!(signing(&opened, at(10)), [1, 2]);
        assert_eq!(signing(&opened, at(20)), [1]);
    }

    #[test]
    fn a_secret_of_which_no_end_is_known_never_ends() {
        assert_eq!(signing(&opened(&[], 2), DateTime::<Utc>::MAX_UTC), [0, 1]);
        assert_eq!(signing(&opened(&[Some(at(0))], 2), DateTime::<Utc>::MAX_UTC), [1]);
    }

    /// The old master key was taken away once nothing under it was in force.
    #[test]
    fn a_secret_that_has_ended_need_not_open() {
        let (old, new) = (MasterKey::generate(), MasterKey::generate());
        let (old, new) = (MasterKey::parse(&old).unwrap(), MasterKey::parse(&new).unwrap());
        let seal = |key: &MasterKey| key.seal("endpoint:bot", SigningSecret::generate().expose_secret().as_bytes());
        let (secrets, secret_ends) = (vec![seal(&new), seal(&old)], vec![None, Some(at(0))]);
        let target =
            Arc::new(Target { url: "https://bot.example/".to_owned(), secrets, secret_ends, ..Target::default() });

        let new = Arc::new(new);
        let open = |now| Targets::new(new.clone()).open(&"bot".parse().unwrap(), &target, now);

        assert_eq!(open(at(-1)).err().map(|unsent| unsent.0), Some(Cause::Secret));
        assert_eq!(open(at(0)).ok().map(|opened| signing(&opened, at(0))), Some(vec![0]));
    }

    /// Of a later version, or of somebody else's hand: what the account was to be opened is not known.
    #[test]
    fn an_account_with_a_range_that_cannot_be_read_is_sent_nothing_and_the_detail_names_it() {
        let master = Arc::new(MasterKey::parse(&MasterKey::generate()).unwrap());
        let sealed = master.seal("endpoint:bot", SigningSecret::generate().expose_secret().as_bytes());
        let (url, allowed_private) = ("https://bot.example/".to_owned(), vec!["10.0.0.0/99".to_owned()]);
        let target = Arc::new(Target { url, secrets: vec![sealed], allowed_private, ..Target::default() });

        let unsent = Targets::new(master).open(&"bot".parse().unwrap(), &target, at(0)).err().unwrap();

        assert_eq!(unsent.0, Cause::Guard);
        assert!(unsent.1.contains("\"10.0.0.0/99\" is no range of addresses"), "{}", unsent.1);
    }

    #[test]
    fn when_all_have_ended_nothing_is_sent_and_the_detail_says_so() {
        let opened = opened(&[Some(at(0)), Some(at(1))], 2);

        let unsent = opened.secrets(at(1)).map(|_| ()).unwrap_err();

        assert_eq!(unsent, (Cause::Secret, ALL_ENDED.to_owned()));
    }
}
