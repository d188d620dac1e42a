//! The guard: nothing that a tenant types into a URL makes latchhook talk to the network that it runs in.
//!
//! It stands in the connector, on the addresses about to be dialled, because whatever looks only at names is walked around:
//! a client does not resolve an IP literal, and a name may resolve to something else the second time it is asked. A name
//! with one bad address is refused whole. Redirects are not followed and no proxy is read from the environment, because the
//! client that stands on this connector does neither.
//!
//! By default `https` only, on port 443 or from 1024 up (below are other protocols' own ports). [`AllowedPrivate`] lifts
//! that for all accounts, and [`Granted`] for one, address by address. An egress network that leads nowhere else remains the full answer.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use database::attempts::Split;
use http::Uri;
use tokio::net::TcpStream;
use url::Url;

use crate::{
    address::{AllowedPrivate, not_public},
    asker::Asker,
    granted::Granted,
    outcome::Cause,
    resolver::{Addresses, Bounds, NoAddresses, NoPlace, Resolver},
    split::Part,
};

/// For one address, so that a dead one leaves time for the next.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Decides where deliveries may go. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allowed: Arc<AllowedPrivate>,
    granted: Arc<Granted>,
    resolver: Resolver,
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
            "deliveries cannot go to this URL: it must be https, without user, password and backslash, on port 443 or from 1024 up, \
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
    /// It is shown as it was typed and sent to what a browser reads in it, which takes `\\` for `/`, and leaves these out.
    #[error("the URL holds a backslash or a control character: what it shows is not where it leads")]
    Disguised,
    /// User or password in the URL, empty ones too: they would be sent, logged and shown.
    #[error("the URL holds a user or a password")]
    UserInfo,
    /// Where the protocols of others live.
    #[error("port {0} is neither 443 nor 1024 and above")]
    Port(u16),
    /// Plain HTTP to an address that the operator has not allowed.
    #[error("{0} is reached by http, which neither LATCHHOOK_ALLOW_PRIVATE_ENDPOINTS nor its account's ranges allow")]
    Plain(IpAddr),
    /// Not public, and not allowed.
    #[error(
        "{address} is not public ({range}), and neither LATCHHOOK_ALLOW_PRIVATE_ENDPOINTS nor its account's ranges allow it"
    )]
    Address {
        /// What the host resolved to.
        address: IpAddr,
        /// What that is.
        range: &'static str,
    },
    /// The name has no address.
    #[error("the host does not resolve")]
    Unresolved(#[source] Arc<io::Error>),
    /// Nobody was asked for its addresses.
    #[error("the host was not looked up")]
    NoPlace(#[source] NoPlace),
    /// Allowed, but nobody answers.
    #[error("no connection")]
    Connect(#[source] io::Error),
}

impl From<NoAddresses> for Refusal {
    fn from(none: NoAddresses) -> Self {
        match none {
            NoAddresses::NoPlace(no_place) => Self::NoPlace(no_place),
            NoAddresses::Failed(error) => Self::Unresolved(error),
        }
    }
}

impl Refusal {
    pub(crate) fn cause(&self) -> Cause {
        use io::ErrorKind as Kind;
        match self {
            Self::Unresolved(_) | Self::NoPlace(_) => Cause::Dns,
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
        Self { allowed: Arc::new(allowed), ..Self::default() }
    }

    /// The guard of an account's endpoints: this one, and it lets through what the account is granted.
    pub fn granting(&self, granted: Granted) -> Self {
        Self { granted: Arc::new(granted), ..self.clone() }
    }

    /// Has names looked up by somebody else than the system, for programs that know other names. What it says is checked all
    /// the same. A look-up that does not end keeps one of 64 places, however many wait for it.
    #[must_use]
    pub fn asking(self, ask: impl Fn(String) -> Addresses + Send + Sync + 'static) -> Self {
        Self { resolver: Resolver::new(Bounds::default(), ask), ..self }
    }

    /// Checks a URL when an endpoint is saved. The same is checked again whenever a connection is made.
    ///
    /// # Errors
    /// One error for every reason, with the reason inside for the operator's log.
    pub async fn check_url(&self, url: &str) -> Result<(), UrlRefused> {
        let check = async {
            let uri = parse(url)?;
            self.resolve(&uri, Asker::default(), &mut Split::default()).await
        };
        check.await.map(drop).map_err(UrlRefused)
    }

    /// The addresses of a URL's host, all of them admitted.
    async fn resolve(&self, uri: &Uri, asker: Asker<'_>, split: &mut Split) -> Result<Vec<SocketAddr>, Refusal> {
        let https = uri.scheme() != Some(&http::uri::Scheme::HTTP);
        let (host, port) = (host_of(uri), uri.port_u16().unwrap_or(if https { 443 } else { 80 }));
        let addresses = match host.parse() {
            Ok(literal) => vec![SocketAddr::new(literal, port)],
            Err(_) => {
                let _part = Part::of(&mut split.dns);
                self.look_up(host, port, asker).await?
            }
        };
        addresses.iter().try_for_each(|address| self.admit(https, *address))?;
        Ok(addresses)
    }

    async fn look_up(&self, name: &str, port: u16, asker: Asker<'_>) -> Result<Vec<SocketAddr>, Refusal> {
        let addresses = self.resolver.ask(name, port, asker).await?;
        if addresses.is_empty() {
            return Err(Refusal::Unresolved(Arc::new(io::ErrorKind::NotFound.into())));
        }
        Ok(addresses)
    }

    pub(crate) fn admit(&self, https: bool, address: SocketAddr) -> Result<(), Refusal> {
        let (address, port) = (address.ip(), address.port());
        if self.allowed.contains(address) || self.granted.contains(address) {
            return Ok(());
        }
        match not_public(address) {
            Some(range) => Err(Refusal::Address { address, range }),
            None if !https => Err(Refusal::Plain(address)),
            None if port != 443 && port < 1024 => Err(Refusal::Port(port)),
            None => Ok(()),
        }
    }

    /// Connects to an address that was just checked: the name is not asked for again in between.
    pub(crate) async fn connect(&self, uri: &Uri, asker: Asker<'_>, split: &mut Split) -> Result<TcpStream, Refusal> {
        let addresses = self.resolve(uri, asker, split).await?;
        let _part = Part::of(&mut split.connect);
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        for address in addresses {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).map_err(Refusal::Connect)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(Refusal::Connect(last))
    }
}

/// The host of a URL, an IPv6 address without its brackets.
pub(crate) fn host_of(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

/// Reads a URL as browsers do (`0x7f.1` and `127.0.0.1` are the same host), and refuses what no address can make good.
pub(crate) fn parse(text: &str) -> Result<Uri, Refusal> {
    if text.contains(|char: char| char == '\\' || char.is_control()) {
        return Err(Refusal::Disguised);
    }
    let url = Url::parse(text).map_err(Refusal::Url)?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(Refusal::Scheme(url.scheme().to_owned()));
    }
    // Of `https://@host` nothing is left in what was read.
    if !url.username().is_empty() || url.password().is_some() || typed_authority(text).contains('@') {
        return Err(Refusal::UserInfo);
    }
    url.as_str().parse().map_err(|_| Refusal::Url(url::ParseError::InvalidDomainCharacter))
}

/// What stands between the scheme and the path, however many slashes a browser would overlook before it.
fn typed_authority(text: &str) -> &str {
    let behind = text.split_once(':').map_or(text, |(_, behind)| behind).trim_start_matches('/');
    behind.split(['/', '?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
