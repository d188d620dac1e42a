//! The certificates that requests say they are signed with, fetched from their provider and kept until they end.
//!
//! Whoever sends a request names the address. That it is one of the provider's own is checked before it comes here (see
//! [`Provider::certificate_url`](providers::Provider::certificate_url)); its last part is still his to choose, before anything
//! has shown who he is. So an address is asked once a minute at most, no more than 64 are in a minute and no more than 16 of
//! them for one account, and no more than 64 certificates are kept. Where there is no room for another, the one goes that has
//! vouched for nothing, or for nothing for longest: who names addresses pushes out nothing that is in use.
//!
//! A request whose certificate is not at hand is answered 503 at once, and its sender repeats it: nobody waits for a server
//! that may not answer. What holds up whoever knows the address of a source is therefore a *new* certificate, for the sources
//! of that account, for as long as he goes on; against that there is the source's setting, with which nothing is fetched.

mod known;

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use providers::{Certificate, CertificateError};
use tokio::task::JoinError;
use tracing::{debug, warn};
use vocabulary::{Source, SourceId, chain};

use known::{Found, Known, PAUSE};

/// What stands at an address, once it has come; or why it has not.
pub type Fetched = Pin<Box<dyn Future<Output = Result<Bytes, Box<dyn Error + Send + Sync>>> + Send>>;

/// Certificates by the address that they were fetched from. Cheap to clone; clones share them.
///
/// The default fetches none: a request that needs one is answered 503, and the log says what to do. It is not refused at the
/// start, because sources are added while a program runs.
#[derive(Clone)]
pub struct Certificates(Arc<Shared>);

struct Shared {
    fetch: Box<dyn Fn(String) -> Fetched + Send + Sync>,
    known: Mutex<Known>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("it could not be fetched")]
    NotFetched(#[source] Box<dyn Error + Send + Sync>),
    #[error("its fetching broke off")]
    BrokenOff(#[source] JoinError),
    #[error("what is there cannot be used")]
    Unusable(#[source] CertificateError),
    #[error("the certificate ended at {0}")]
    Ended(DateTime<Utc>),
}

#[derive(Debug, thiserror::Error)]
#[error("this program was given no way to fetch certificates (Certificates::new)")]
struct NoWay;

impl Certificates {
    /// Certificates that `fetch` gets, given an address of `https` at a host of the provider's.
    ///
    /// It is to follow no redirect, to believe a server of that name only, to read so much and no more, and to end: a fetch that
    /// does not end keeps one of 64 places.
    pub fn new(fetch: impl Fn(String) -> Fetched + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { fetch: Box::new(fetch), known: Mutex::default() }))
    }

    /// The certificate at `url`, if it is at hand at `now`. If it is not, somebody is asked for it, unless that has just
    /// happened or there is no room for it. To be called in a Tokio runtime.
    pub fn look_up(&self, source: &Source, url: &str, now: DateTime<Utc>) -> Option<Arc<Certificate>> {
        let found = self.0.known().look_up(&source.account_id, url, now);
        match found {
            Found::Certificate(certificate) => Some(certificate),
            Found::ToFetch => {
                tokio::spawn(self.0.clone().fetch(source.id.clone(), url.to_owned(), now));
                None
            }
            Found::Nothing => None,
        }
    }

    /// A genuine request was verified by the certificate at `url`: it is in use.
    pub fn vouched(&self, url: &str, now: DateTime<Utc>) {
        self.0.known().vouched(url, now);
    }

    /// The fetches that have not ended.
    pub fn under_way(&self) -> usize {
        self.0.known().under_way()
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new(|_| Box::pin(async { Err(NoWay.into()) }))
    }
}

impl Shared {
    async fn fetch(self: Arc<Self>, source: SourceId, url: String, now: DateTime<Utc>) {
        let (shared, address) = (self.clone(), url.clone());
        // A task of its own, so that its panic is a failure like any other.
        let fetching = tokio::spawn(async move { (shared.fetch)(address).await });
        let fetched = fetching.await.map_err(Unfit::BrokenOff);
        match fetched.and_then(|fetched| read(&fetched.map_err(Unfit::NotFetched)?, now)) {
            Ok(certificate) => self.known().keep(url, certificate, now),
            Err(unfit) => self.fail(&source, &url, &unfit),
        }
    }

    fn fail(&self, source: &SourceId, url: &str, unfit: &Unfit) {
        // Of an error's sources not every format of logs says anything.
        let why = chain(unfit);
        if !self.known().fail(url) {
            debug!(source.id = %source, url, why, "source {source}: no certificate from {url}: {why}");
            return;
        }
        warn!(
            source.id = %source,
            url,
            why,
            pause_s = PAUSE.num_seconds(),
            "source {source}: a request says that its certificate is at {url}, and there is none to be had: {why}; such requests \
             get 503, and that address is asked again after a pause. A source with the setting certificates needs none from there"
        );
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that has ended would be forgotten at once, and nobody told why there is none.
fn read(pem: &[u8], now: DateTime<Utc>) -> Result<Certificate, Unfit> {
    let pem = std::str::from_utf8(pem).map_err(|_| Unfit::Unusable(CertificateError::NotPem))?;
    let certificate = Certificate::read(pem).map_err(Unfit::Unusable)?;
    if certificate.until() < now { Err(Unfit::Ended(certificate.until())) } else { Ok(certificate) }
}

#[cfg(test)]
mod tests;
