//! The guarded client: one request, one answer, one deadline over all of it.
//!
//! Connections are kept and used again, because a new one per delivery costs three times the work. What is read of an
//! answer is bounded: its head by hyper, its body here. Both must come whole inside the deadline, even for a 2xx: an answer
//! that never ends was given by something in front of the customer, not by the customer. Nothing is decompressed.
//!
//! A kept connection (`pool.rs`) leads to an address that the guard has let through when it was made, and under the certificate that
//! was checked then. It may outlive a change of the name's addresses by a minute at most: then a new one is made, and the name
//! looked up and checked again; a server that closes it, or four idle seconds, end it sooner. A name that has moved into our
//! own network since is not followed there by a connection that was made before, and refused by the next one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use database::attempts::Split;
use http::{
    HeaderMap, HeaderName, Request, Response, StatusCode,
    header::{CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use rustls::{
    RootCertStore,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::time::{Instant, timeout};

use crate::{
    asker::Asker,
    connector::Connector,
    failure::{Failure, clipped, failure},
    granted::Granted,
    guard::Guard,
    outcome::{Cause, Outcome},
    pool::{Connection, Place, Pool},
    resolver::NoPlace,
    targets::Unsent,
};

/// Bytes of an answer's body that are read; a larger one is a failure.
pub(crate) const MOST_BODY: usize = 64 * 1024;
/// Bytes of an answer's body that are kept with the attempt.
const KEPT_BODY: usize = 1024;
/// Most come in one packet with the head, or in the next.
const BEGINS_WITHIN: Duration = Duration::from_secs(1);

/// Sends deliveries. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client(pub(crate) Pool);

/// What came back, and what it is taken for.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<StatusCode>,
    pub(crate) head: Vec<u8>,
    pub(crate) detail: Option<String>,
    pub(crate) split: Split,
}

impl Answer {
    /// Nothing was sent.
    pub(crate) fn without_request(cause: Cause, detail: String) -> Self {
        let (head, split) = Default::default();
        Self { outcome: Outcome::Failed(cause), status: None, head, detail: Some(detail), split }
    }
}

/// The part of an answer that came, whatever became of the rest.
#[derive(Default)]
struct Seen {
    status: Option<StatusCode>,
    headers: HeaderMap,
    head: Vec<u8>,
    split: Split,
}

impl Client {
    /// A client behind a guard. Servers must show a certificate that Mozilla's roots vouch for.
    pub fn new(guard: Guard) -> Self {
        Self::trusting(guard, RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    }

    /// Likewise, with other roots in the place of Mozilla's: for programs whose servers others vouch for.
    pub fn trusting(guard: Guard, roots: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has every suite of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(Pool::new(Connector { guard, tls: Arc::new(tls) }))
    }

    /// A client that shows a certificate where it is asked for one. Its connections are its own, so that nobody else's request
    /// comes under that name; of TLS sessions rustls takes up none that was agreed on under another certificate.
    pub(crate) fn showing(&self, identity: Arc<CertifiedKey>) -> Self {
        let Connector { guard, tls } = &self.0.connector;
        let mut tls = (**tls).clone();
        tls.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(identity));
        Self(Pool::new(Connector { guard: guard.clone(), tls: Arc::new(tls) }))
    }

    /// A client for the endpoints of an account that is granted something. Its connections are its own: one that was made
    /// because this account may go somewhere is used for nobody who may not.
    pub(crate) fn granting(&self, granted: Granted) -> Self {
        let Connector { guard, tls } = &self.0.connector;
        Self(Pool::new(Connector { guard: guard.granting(granted), tls: tls.clone() }))
    }

    /// Sends the request that `make` makes, and reads what comes back, for as long as the asker has patience. `now` is what a date
    /// in Retry-After is compared with.
    ///
    /// # Errors
    /// When there was no place for the look-up of the host: then nothing was sent, and nobody asked.
    pub(crate) async fn send(
        &self,
        to: &Place,
        asker: Asker<'_>,
        make: impl Fn() -> Result<Request<Full<Bytes>>, Unsent>,
        now: DateTime<Utc>,
    ) -> Result<Answer, NoPlace> {
        let mut seen = Seen::default();
        let ended = timeout(asker.patience, self.exchange(to, asker, make, &mut seen)).await;
        let (answered, cut) = match ended.unwrap_or(Err(Failure::Of(Cause::Timeout, None))) {
            Ok(status) => (Ok(status), None),
            Err(Failure::NoPlace(no_place)) => return Err(no_place),
            // What the head says counts though the body was cut off: that it is overloaded, or gone.
            Err(Failure::Of(cause, detail)) => {
                let declined = seen.status.filter(|status| !status.is_success());
                let cut = declined.map(|_| format!("the answer's body did not come whole: {cause}"));
                (declined.ok_or(cause), detail.or(cut))
            }
        };
        let outcome = match answered {
            Ok(status) => Outcome::of_answer(status, told(&seen.headers, &RETRY_AFTER), now),
            Err(cause) => Outcome::Failed(cause),
        };
        let details: Vec<_> = cut.into_iter().chain(explanation(&outcome, &seen.headers)).collect();
        let detail = (!details.is_empty()).then(|| clipped(&details.join("; ")));
        Ok(Answer { outcome, status: seen.status, head: seen.head, detail, split: seen.split })
    }

    async fn exchange(
        &self,
        to: &Place,
        asker: Asker<'_>,
        make: impl Fn() -> Result<Request<Full<Bytes>>, Unsent>,
        seen: &mut Seen,
    ) -> Result<StatusCode, Failure> {
        let began = Instant::now();
        let (response, connection) = self.answered(to, asker, make, &mut seen.split).await?;
        let Split { dns, connect, tls, .. } = seen.split;
        let before = [dns, connect, tls].into_iter().flatten().sum();
        seen.split.first_byte = Some(began.elapsed().saturating_sub(before));
        let (head, body) = response.into_parts();
        seen.status = Some(head.status);
        seen.headers = head.headers;
        read(body, head.status, &mut seen.head).await?;
        self.0.put_back(to, connection);
        Ok(head.status)
    }

    /// The head of an answer, and what it came over. Where a kept connection was closed and no byte of one came, the same bytes are
    /// sent once more over a new connection: the server closed it for its age, most likely, and is not to be held to have failed.
    /// If it had taken the request before, it gets it twice: a delivery under the same `webhook-id`. It has not where hyper gives
    /// the request back, unwritten, also when the server has said something before it closed: that was not about this request.
    pub(crate) async fn answered(
        &self,
        to: &Place,
        asker: Asker<'_>,
        make: impl Fn() -> Result<Request<Full<Bytes>>, Unsent>,
        split: &mut Split,
    ) -> Result<(Response<Incoming>, Connection), Failure> {
        let request = make()?;
        let Some(mut kept) = self.0.kept(to, Instant::now()) else {
            return Box::pin(self.answered_anew(to, asker, request, split)).await;
        };
        let (unwritten, closed) = match kept.requests.try_send_request(request).await {
            Ok(response) => return Ok((response, kept)),
            Err(mut closed) => (closed.take_message(), failure(&closed.into_error())),
        };
        if let Some(request) = unwritten {
            return Box::pin(self.answered_anew(to, asker, request, split)).await;
        }
        if !kept.kept.is_silent() {
            return Err(closed);
        }
        Box::pin(self.answered_anew(to, asker, make()?, split)).await.map_err(|failed| match failed {
            // Whoever finds no place for the look-up has asked nobody; here somebody was asked.
            Failure::NoPlace(_) => closed,
            failed => failed,
        })
    }

    /// Over a new connection. To be boxed: what connects takes more memory than all else that an attempt does.
    async fn answered_anew(
        &self,
        to: &Place,
        asker: Asker<'_>,
        request: Request<Full<Bytes>>,
        split: &mut Split,
    ) -> Result<(Response<Incoming>, Connection), Failure> {
        let mut connection = self.0.connect(to, asker, split).await.map_err(|error| failure(&*error))?;
        let response = connection.requests.send_request(request).await.map_err(|error| failure(&error))?;
        Ok((response, connection))
    }
}

/// Every value of a header: it may have come more than once.
fn told<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

/// What helps to understand an answer that is no success, beside its status and the first bytes of its body.
fn explanation(outcome: &Outcome, headers: &HeaderMap) -> Option<String> {
    let Outcome::Declined { .. } = outcome else { return None };
    let names = [LOCATION, RETRY_AFTER, CONTENT_TYPE];
    let lines = names.iter().flat_map(|name| told(headers, name).map(move |value| format!("{name}: {value}")));
    let lines: Vec<_> = lines.collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// Reads a body to its end, so that the connection can be kept; keeps its first bytes. What is announced as too long
/// is not waited for, but, for a moment, the first bytes of a refusal, which help to understand it.
async fn read(mut body: Incoming, status: StatusCode, head: &mut Vec<u8>) -> Result<(), Failure> {
    if body.size_hint().lower() > MOST_BODY as u64 {
        if !status.is_success()
            && let Ok(Some(Ok(first))) = timeout(BEGINS_WITHIN, body.frame()).await
        {
            head.extend(first.data_ref().into_iter().flatten().take(KEPT_BODY));
        }
        return Err(too_large());
    }
    let mut len = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failure(&error))?;
        let Some(data) = frame.data_ref() else { continue };
        head.extend(data.iter().take(KEPT_BODY - head.len()));
        len += data.len();
        if len > MOST_BODY {
            return Err(too_large());
        }
    }
    Ok(())
}

fn too_large() -> Failure {
    Failure::Of(Cause::TooLarge, Some(format!("the answer's body is longer than {MOST_BODY} bytes")))
}

#[cfg(test)]
pub(crate) mod tests;
