//! The guard: nothing that a tenant types into a URL makes latchhook talk to the network that it runs in.
//!
//! It stands in the connector, on the addresses about to be dialled, because whatever looks only at names is walked around:
//! a client does not resolve an IP literal, and a name may resolve to something else the second time it is asked. A name
//! with one bad address is refused whole. Redirects are not followed and no proxy is read from the environment, because the
//! client that stands on this connector does neither.
//!
//! By default `https` only, on port 443 or from 1024 up (below are other protocols' own ports); [`AllowedPrivate`] lifts
//! that, address by address. An egress network that leads nowhere else remains the full answer.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use crate::{address::AllowedPrivate, address::not_public, outcome::Cause};

/// For one address, so that a dead one leaves time for the next.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Decides where deliveries may go. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allowed: Arc<AllowedPrivate>,
}

/// A URL that deliveries may not go to. What it says is the same for every reason, so that a tenant cannot use it to look
/// around in our network; the reason is for the operator's log.
#[derive(Debug)]
pub struct UrlRefused(Refusal);

impl UrlRefused {
    /// The reason. Not for the tenant.
    pub fn detail(&self) -> &Refusal {
        &self.0
    }
}

impl fmt::Display for UrlRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "deliveries cannot go to this URL: it must be https, without user and password, on port 443 or from 1024 up, \
             and its host must have public addresses only",
        )
    }
}

impl std::error::Error for UrlRefused {}

/// Why the guard refused, or why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No URL.
    #[error("the URL cannot be read")]
    Url(#[source] url::ParseError),
    /// Neither https nor http.
    #[error("the scheme is {0}, not https")]
    Scheme(String),
    /// User or password in the URL: they would be sent, logged and shown.
    #[error("the URL holds a user or a password")]
    UserInfo,
    /// Where the protocols of others live.
    #[error("port {0} is neither 443 nor 1024 and above")]
    Port(u16),
    /// Plain HTTP to an address that the operator has not allowed.
    #[error("{0} is reached by http, and LATCHHOOK_ALLOW_PRIVATE_ENDPOINTS does not name it")]
    Plain(IpAddr),
    /// Not public, and not allowed.
    #[error("{address} is not public ({range}), and LATCHHOOK_ALLOW_PRIVATE_ENDPOINTS does not name it")]
    Address {
        /// What the host resolved to.
        address: IpAddr,
        /// What that is.
        range: &'static str,
    },
    /// The name has no address.
    #[error("the host does not resolve")]
    Unresolved(#[source] io::Error),
    /// Allowed, but nobody answers.
    #[error("no connection")]
    Connect(#[source] io::Error),
}

impl Refusal {
    pub(crate) fn cause(&self) -> Cause {
        use io::ErrorKind as Kind;
        match self {
            Self::Unresolved(_) => Cause::Dns,
            Self::Connect(error) => match error.kind() {
                Kind::ConnectionRefused => Cause::Refused,
                Kind::ConnectionReset | Kind::ConnectionAborted => Cause::Reset,
                Kind::TimedOut => Cause::Timeout,
                _ => Cause::Unreachable,
            },
            _ => Cause::Guard,
        }
    }
}

impl Guard {
    /// A guard that lets through what is public and what the operator has allowed.
    pub fn new(allowed: AllowedPrivate) -> Self {
        Self { allowed: Arc::new(allowed) }
    }

    /// Checks a URL when an endpoint is saved. The same is checked again whenever a connection is made.
    ///
    /// # Errors
    /// One error for every reason, with the reason inside for the operator's log.
    pub async fn check_url(&self, url: &str) -> Result<(), UrlRefused> {
        let check = async {
            let uri = parse(url)?;
            self.resolve(&uri).await
        };
        check.await.map(drop).map_err(UrlRefused)
    }

    async fn resolve(&self, uri: &Uri) -> Result<Vec<SocketAddr>, Refusal> {
        let https = uri.scheme() != Some(&http::uri::Scheme::HTTP);
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let addresses = tokio::net::lookup_host((host, port)).await.map_err(Refusal::Unresolved)?;
        let addresses: Vec<_> = addresses.collect();
        addresses.iter().try_for_each(|address| self.admit(https, *address))?;
        Ok(addresses)
    }

    pub(crate) fn admit(&self, https: bool, address: SocketAddr) -> Result<(), Refusal> {
        let (address, port) = (address.ip(), address.port());
        if self.allowed.contains(address) {
            return Ok(());
        }
        match not_public(address) {
            Some(range) => Err(Refusal::Address { address, range }),
            None if !https => Err(Refusal::Plain(address)),
            None if port != 443 && port < 1024 => Err(Refusal::Port(port)),
            None => Ok(()),
        }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, Refusal> {
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        for address in self.resolve(&uri).await? {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).map_err(Refusal::Connect)?;
                    return Ok(TokioIo::new(stream));
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(Refusal::Connect(last))
    }
}

/// Reads a URL as browsers do (`0x7f.1` and `127.0.0.1` are the same host), and refuses what no address can make good.
pub(crate) fn parse(url: &str) -> Result<Uri, Refusal> {
    let url = Url::parse(url).map_err(Refusal::Url)?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(Refusal::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::UserInfo);
    }
    url.as_str().parse().map_err(|_| Refusal::Url(url::ParseError::InvalidDomainCharacter))
}

impl tower::Service<Uri> for Guard {
    type Response = TokioIo<TcpStream>;
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Refusal>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(url: &str) -> Option<Refusal> {
        Guard::default().check_url(url).await.err().map(|refused| refused.0)
    }

    #[tokio::test]
    async fn no_way_of_writing_a_private_address_gets_past_the_guard() {
        let disguises = [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://0/",
            "https://127.0.0.1./",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[fd00:ec2::254]/",
            "https://[fe80::1]/",
            "https://１２７.0.0.1/",
            "https://127。0。0。1/",
            "https://169.254.169.254/latest/meta-data",
            "https://169.254.170.2/",
            "https://100.100.100.200/",
            "https://168.63.129.16/",
            "https://10.0.0.1:8443/",
            "https://192.168.1.1/",
            "https://172.31.0.1/",
        ];

        for url in disguises {
            let refusal = refusal(url).await;

            assert!(matches!(refusal, Some(Refusal::Address { .. })), "{url}: {refusal:?}");
        }
    }

    #[tokio::test]
    async fn names_of_this_machine_are_refused_whether_they_resolve_or_not() {
        for url in ["https://localhost/", "https://localhost./", "https://LOCALHOST:8443/"] {
            assert!(refusal(url).await.is_some(), "{url}");
        }
    }

    #[tokio::test]
    async fn what_is_no_plain_https_url_is_refused_by_its_own_reason() {
        assert!(matches!(refusal("http://93.184.216.34/").await, Some(Refusal::Plain(_))));
        assert!(matches!(refusal("ftp://93.184.216.34/").await, Some(Refusal::Scheme(_))));
        assert!(matches!(refusal("file:///etc/passwd").await, Some(Refusal::Scheme(_))));
        assert!(matches!(refusal("https://user@93.184.216.34/").await, Some(Refusal::UserInfo)));
        assert!(matches!(refusal("https://:secret@93.184.216.34/").await, Some(Refusal::UserInfo)));
        assert!(matches!(refusal("https://93.184.216.34:22/").await, Some(Refusal::Port(22))));
        assert!(matches!(refusal("https://93.184.216.34:80/").await, Some(Refusal::Port(80))));
        assert!(matches!(refusal("https://no-such-host.invalid/").await, Some(Refusal::Unresolved(_))));
        for unreadable in
            ["", "example.com", "https://", "https://exa mple.com/", "https://999.999.999.999/", "https://[::1/"]
        {
            assert!(matches!(refusal(unreadable).await, Some(Refusal::Url(_))), "{unreadable}");
        }
    }

    #[tokio::test]
    async fn public_addresses_are_let_through() {
        for url in ["https://93.184.216.34/", "https://93.184.216.34:8443/a?b=c", "https://[2606:2800:220:1::1]:9000/"]
        {
            assert!(refusal(url).await.is_none(), "{url}");
        }
    }

    #[tokio::test]
    async fn what_the_operator_allows_may_be_plain_and_on_any_port() {
        let guard = Guard::new("127.0.0.0/8".parse().unwrap());

        assert!(guard.check_url("http://127.0.0.1:80/").await.is_ok());
        assert!(guard.check_url("https://127.1:25/").await.is_ok());
        assert!(guard.check_url("http://10.0.0.1/").await.is_err());
        assert!(guard.check_url("http://user@127.0.0.1/").await.is_err());
    }

    #[test]
    fn one_bad_address_refuses_the_whole_name() {
        let guard = Guard::default();
        let resolved: [SocketAddr; 2] = ["93.184.216.34:443".parse().unwrap(), "127.0.0.1:443".parse().unwrap()];

        let verdict = resolved.iter().try_for_each(|address| guard.admit(true, *address));

        assert!(matches!(verdict, Err(Refusal::Address { .. })));
    }

    #[tokio::test]
    async fn the_tenant_reads_the_same_words_whatever_the_reason() {
        let guard = Guard::default();

        let private = guard.check_url("https://10.0.0.1/").await.unwrap_err();
        let unknown = guard.check_url("https://no-such-host.invalid/").await.unwrap_err();

        assert_eq!(private.to_string(), unknown.to_string());
        assert_ne!(private.detail().to_string(), unknown.detail().to_string());
        assert!(std::error::Error::source(&private).is_none());
    }

    #[tokio::test]
    async fn the_connector_itself_refuses_an_address_that_no_check_has_seen_before() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();

        let refused = Guard::default().connect(uri.clone()).await;
        let allowed = Guard::new("127.0.0.1".parse().unwrap()).connect(uri).await;

        assert!(matches!(refused, Err(Refusal::Address { .. })));
        assert!(allowed.is_ok());
    }
}
