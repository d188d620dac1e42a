//! What sending to an endpoint takes, opened once: to open a secret and to read a URL for each attempt would cost more than
//! to sign it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use database::endpoints::{Target, open_access, open_secrets};
use http::{HeaderMap, Uri, uri::Scheme};
use rustls::sign::CertifiedKey;
use vocabulary::{EndpointId, MasterKey};

use crate::{
    access::{Access, Carried},
    client::{Client, detail},
    guard,
    outcome::Cause,
    signing::SigningSecret,
};

/// Endpoints that are kept. More than these, and all are opened anew: that is slower, and no more.
const MOST_KEPT: usize = 10_000;

/// Why nothing can be sent.
pub(crate) type Unsent = (Cause, String);

/// An endpoint's URL, secrets and access, as they are used.
pub(crate) struct Opened {
    /// What it was opened from.
    target: Arc<Target>,
    pub(crate) uri: Uri,
    pub(crate) secrets: Vec<SigningSecret>,
    /// What else its requests carry.
    pub(crate) headers: HeaderMap,
    identity: Option<Arc<CertifiedKey>>,
    showing: OnceLock<Client>,
}

impl Opened {
    /// What sends to it: the client of all, or one that shows this endpoint's certificate. There are as many of those as
    /// there are endpoints kept that have one, at most.
    pub(crate) fn client<'c>(&'c self, plain: &'c Client) -> &'c Client {
        let Some(identity) = &self.identity else { return plain };
        self.showing.get_or_init(|| plain.showing(identity.clone()))
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
    pub(crate) fn open(&self, endpoint: &EndpointId, target: &Arc<Target>) -> Result<Arc<Opened>, Unsent> {
        let mut kept = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = kept.get(endpoint).filter(|kept| *kept.target == **target) {
            return Ok(opened.clone());
        }
        let uri = guard::parse(&target.url).map_err(|refusal| (Cause::Guard, detail(&refusal)))?;
        let secrets = self.secrets(endpoint, target)?;
        let Carried { headers, identity } = self.access(endpoint, target, &uri)?;
        let showing = OnceLock::new();
        let opened = Arc::new(Opened { target: target.clone(), uri, secrets, headers, identity, showing });
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(endpoint.clone(), opened.clone());
        Ok(opened)
    }

    /// An unsigned request would be no delivery, so an endpoint without secrets is sent nothing.
    fn secrets(&self, endpoint: &EndpointId, target: &Target) -> Result<Vec<SigningSecret>, Unsent> {
        let opened = open_secrets(&self.master, endpoint.as_str(), &target.secrets)
            .map_err(|error| (Cause::Secret, detail(&error)))?;
        if opened.is_empty() {
            return Err((Cause::Secret, "the endpoint has no signing secret".to_owned()));
        }
        let parsed = opened.iter().map(SigningSecret::parse).collect::<Result<_, _>>();
        parsed.map_err(|error| (Cause::Secret, detail(&error)))
    }

    /// A request without what it is to carry would go to somebody who has not asked for it, or be refused by whoever has.
    fn access(&self, endpoint: &EndpointId, target: &Target, uri: &Uri) -> Result<Carried, Unsent> {
        let Some(sealed) = &target.access else { return Ok(Carried::default()) };
        let opened = open_access(&self.master, endpoint.as_str(), sealed);
        let opened = opened.map_err(|error| (Cause::Access, detail(&error)))?;
        let read = Access::from_json(&opened).and_then(|access| access.read(uri.scheme() == Some(&Scheme::HTTPS)));
        read.map_err(|error| (Cause::Access, detail(&error)))
    }
}
