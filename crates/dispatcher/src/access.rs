//! Access: what a customer's server asks of whoever calls it, beside the signature. Headers, user and password, a client
//! certificate.
//!
//! It is kept sealed with its endpoint, as JSON. A request goes out with all of it or not at all: what does not open or
//! cannot be read is an attempt that failed, with a cause of its own. A client certificate is shown to whoever asks for one
//! in the TLS handshake; a server that does not ask is none of our business, but a URL without TLS is refused.
//!
//! Its values are in no log, no list and no error; `Debug` tells nothing.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION, uri::Scheme};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use x509_cert::{Certificate, der::Decode};

use crate::guard;

/// Headers of one's own, at most.
const MOST_HEADERS: usize = 20;
/// Bytes of all of them together: common servers read no line longer than 8 KiB, and ours are beside them.
const MOST_BYTES: usize = 4096;
/// Bytes of a certificate, its chain and its key: every connection sends the chain.
const MOST_PEM: usize = 32 * 1024;

/// Those that say where a message ends or how far a connection goes (RFC 9110, 7.6.1 and 8.6), and those that latchhook
/// writes itself.
const RESERVED: [&str; 11] = [
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
/// Likewise, whatever follows: `content-encoding` would make a receiver read another body than the one that was signed.
const RESERVED_PREFIXES: [&str; 3] = ["content-", "proxy-", "webhook-"];

/// What an endpoint's requests carry, as it is kept.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// `user:password`.
    pub basic_auth: Option<String>,
    /// Shown where the server asks for one.
    pub client_certificate: Option<ClientCertificate>,
}

/// A certificate and its private key, in PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {
    /// The certificate itself first, then those that lead to a root.
    pub chain: String,
    /// PKCS #8, PKCS #1 or SEC 1; not encrypted.
    pub key: String,
}

/// Why it is no access. Names what is wrong, never a value.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No `Name: value`.
    #[error("a header is written 'Name: value'")]
    NoHeader,
    /// No name, a value that cannot be sent, or none.
    #[error("header {0:?} cannot be sent: a name of letters, digits and -, and a value that is not empty, in ASCII")]
    Header(String),
    /// Not for others to set.
    #[error(
        "header {0} is latchhook's to set: it carries the signature, the body's type and length, or the connection"
    )]
    Reserved(String),
    /// Which of the two?
    #[error("header {0} is given twice (user and password are an authorization header)")]
    Twice(HeaderName),
    /// More than anybody needs.
    #[error("at most {MOST_HEADERS} headers, of {MOST_BYTES} bytes together")]
    TooMuch,
    /// RFC 7617, 2.
    #[error("user and password are written USER:PASSWORD, without control characters")]
    BasicAuth,
    /// No chain is so long.
    #[error("a client certificate, its chain and its key have at most {MOST_PEM} bytes together")]
    TooLong,
    /// The chain is no PEM, or holds none.
    #[error("the client certificate cannot be read: a PEM file that begins with the certificate itself")]
    Certificate,
    /// Its time is over.
    #[error("the client certificate ended at {0}, and servers refuse it: get a new one from whoever issued it")]
    Ended(DateTime<Utc>),
    /// Its time has not come.
    #[error(
        "the client certificate begins at {0}, and servers refuse it before: give it then, or see whether this clock is right"
    )]
    NotYet(DateTime<Utc>),
    /// The key is no PEM, or encrypted.
    #[error("the client certificate's key cannot be read: a PEM file with one private key, not encrypted")]
    Key,
    /// Not of one another, or of a kind that TLS does not know.
    #[error("the client certificate and its key cannot be used")]
    Pair(#[source] rustls::Error),
    /// Nowhere to show it.
    #[error("a client certificate is shown in TLS: the URL must be https")]
    Plain,
    /// Not what latchhook has written.
    #[error("the access that is kept cannot be read")]
    Json,
}

/// An access as it is used.
#[derive(Default)]
pub(crate) struct Carried {
    pub(crate) headers: HeaderMap,
    pub(crate) identity: Option<Arc<CertifiedKey>>,
}

/// What people may see of an access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessShown {
    /// The names alone.
    pub headers: Vec<String>,
    /// Whether there are a user and a password.
    pub basic_auth: bool,
    /// Whose certificate (RFC 4514).
    pub certificate_subject: Option<String>,
    /// Until when it is good.
    pub certificate_expires_at: Option<DateTime<Utc>>,
}

impl Access {
    /// Reads a header as `Name: value`.
    ///
    /// # Errors
    /// When there is no colon.
    pub fn add_header(&mut self, line: &str) -> Result<(), AccessError> {
        let (name, value) = line.split_once(':').ok_or(AccessError::NoHeader)?;
        self.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        Ok(())
    }

    /// Checks that requests to this URL can carry all of it.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check(&self, url: &str) -> Result<(), AccessError> {
        // As it is sent to: a host may have letters that a raw URL has not.
        let is_https = guard::parse(url).is_ok_and(|uri| uri.scheme() == Some(&Scheme::HTTPS));
        self.read(is_https).map(drop)
    }

    /// Checks an access that is newly given: as [`Access::check`], and that its certificate is good at `now`. One that ends
    /// later is no matter of this: it is shown as it is, and the server decides.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check_given(&self, url: &str, now: DateTime<Utc>) -> Result<(), AccessError> {
        self.check(url)?;
        self.client_certificate.as_ref().map_or(Ok(()), |pair| pair.must_be_good_at(now))
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As it is kept: to be sealed.
    pub fn to_json(&self) -> SecretString {
        serde_json::to_string(self).expect("texts are JSON").into()
    }

    /// As it was kept.
    ///
    /// # Errors
    /// When it is not what [`Access::to_json`] gives.
    pub fn from_json(json: &SecretString) -> Result<Self, AccessError> {
        // What serde says may repeat what it has read.
        serde_json::from_str(json.expose_secret()).map_err(|_| AccessError::Json)
    }

    /// What people may see of it.
    pub fn shown(&self) -> AccessShown {
        let own = self.client_certificate.as_ref().and_then(|pair| own(&pair.certificates().ok()?).ok());
        let certificate = own.map(|read| read.tbs_certificate);
        let expires = |read: &x509_cert::TbsCertificate| DateTime::from(read.validity.not_after.to_system_time());
        AccessShown {
            headers: self.headers.iter().map(|(name, _)| name.clone()).collect(),
            basic_auth: self.basic_auth.is_some(),
            certificate_expires_at: certificate.as_ref().map(expires),
            certificate_subject: certificate.map(|read| read.subject.to_string()),
        }
    }

    pub(crate) fn read(&self, is_https: bool) -> Result<Carried, AccessError> {
        let bytes: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let basic = self.basic_auth.as_ref().map_or(0, String::len);
        if self.headers.len() > MOST_HEADERS || bytes + basic > MOST_BYTES {
            return Err(AccessError::TooMuch);
        }
        if self.client_certificate.is_some() && !is_https {
            return Err(AccessError::Plain);
        }
        let mut headers = HeaderMap::new();
        let own = self.headers.iter().map(|(name, value)| header(name, value));
        for read in own.chain(self.basic_auth.as_deref().map(basic_auth)) {
            let (name, mut value) = read?;
            value.set_sensitive(true);
            if headers.insert(name.clone(), value).is_some() {
                return Err(AccessError::Twice(name));
            }
        }
        let identity = self.client_certificate.as_ref().map(ClientCertificate::read).transpose()?;
        Ok(Carried { headers, identity })
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), AccessError> {
    let unsendable = || AccessError::Header(name.split_whitespace().next().unwrap_or_default().to_owned());
    let read: HeaderName = name.parse().map_err(|_| unsendable())?;
    if RESERVED.contains(&read.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| read.as_str().starts_with(prefix)) {
        return Err(AccessError::Reserved(name.to_owned()));
    }
    // An empty one is a variable that was not set; of other letters no two servers make the same.
    if value.is_empty() || !value.is_ascii() {
        return Err(unsendable());
    }
    Ok((read, HeaderValue::from_str(value).map_err(|_| unsendable())?))
}

fn basic_auth(pair: &str) -> Result<(HeaderName, HeaderValue), AccessError> {
    if !pair.contains(':') || pair.chars().any(char::is_control) {
        return Err(AccessError::BasicAuth);
    }
    let value = format!("Basic {}", BASE64.encode(pair));
    Ok((AUTHORIZATION, value.parse().expect("base64 is a header's value")))
}

impl ClientCertificate {
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, AccessError> {
        // What the reader says may repeat what it has read.
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect();
        read.ok().filter(|chain| !chain.is_empty()).ok_or(AccessError::Certificate)
    }

    fn read(&self) -> Result<Arc<CertifiedKey>, AccessError> {
        if self.chain.len() + self.key.len() > MOST_PEM {
            return Err(AccessError::TooLong);
        }
        let chain = self.certificates()?;
        own(&chain)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|_| AccessError::Key)?;
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map(Arc::new).map_err(AccessError::Pair)
    }

    /// The certificate itself: who checks a chain may find another way to a root than the one that is sent.
    fn must_be_good_at(&self, now: DateTime<Utc>) -> Result<(), AccessError> {
        let validity = own(&self.certificates()?)?.tbs_certificate.validity;
        let [begins, ends] =
            [validity.not_before, validity.not_after].map(|time| DateTime::from(time.to_system_time()));
        // It is good at both of them, too (RFC 5280, 4.1.2.5).
        if now > ends {
            return Err(AccessError::Ended(ends));
        }
        if now < begins {
            return Err(AccessError::NotYet(begins));
        }
        Ok(())
    }
}

/// The certificate that a chain begins with.
fn own(chain: &[CertificateDer<'_>]) -> Result<Certificate, AccessError> {
    let first = chain.first().ok_or(AccessError::Certificate)?;
    Certificate::from_der(first).map_err(|_| AccessError::Certificate)
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access")
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate")
    }
}

#[cfg(test)]
mod tests;
