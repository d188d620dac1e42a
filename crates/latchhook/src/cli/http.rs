//! What commands speak HTTP with: to a developer's server, to a console, to a producer.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Shorter than the five seconds after which the commonest servers close an idle connection.
const IDLE: Duration = Duration::from_secs(4);

/// A client without a guard: it speaks to whom the person at the terminal names.
pub(super) type Client = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client that follows no redirect and asks no proxy. Over https, servers must show a certificate that Mozilla's roots
/// vouch for.
pub(super) fn client() -> anyhow::Result<Client> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_WITHIN));
    tcp.set_nodelay(true);
    let tls = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(Arc::new(rustls::crypto::ring::default_provider()))
        .context("TLS cannot be used")?
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    Ok(builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).build(tls))
}

/// An address that begins with `http://` or `https://`.
#[derive(Debug, Clone)]
pub(super) struct HttpUrl(Uri);

/// Why a text is no such address.
#[derive(Debug, thiserror::Error)]
#[error("not an address to send to: write http://HOST:PORT/PATH, or https://…, without a user in it")]
pub(super) struct HttpUrlError;

impl HttpUrl {
    /// As it was given.
    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for HttpUrl {
    type Err = HttpUrlError;

    fn from_str(text: &str) -> Result<Self, HttpUrlError> {
        let uri: Uri = text.parse().map_err(|_| HttpUrlError)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let names_a_host = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if is_http && names_a_host { Ok(Self(uri)) } else { Err(HttpUrlError) }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_and_https_are_spoken() {
        for good in ["http://localhost:3000", "http://127.0.0.1:3000/webhooks?a=b", "https://app.example/"] {
            assert!(good.parse::<HttpUrl>().is_ok(), "{good}");
        }
        for bad in ["", "localhost:3000", "/webhooks", "ftp://localhost/", "http://", "http://user:secret@localhost/"] {
            assert!(bad.parse::<HttpUrl>().is_err(), "{bad}");
        }
    }
}
