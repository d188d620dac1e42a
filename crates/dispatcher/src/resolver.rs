//! Who is asked for the addresses of a name.

use std::{fmt, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc};

/// The addresses of a name, once they have come.
pub(crate) type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Asks for the addresses of a name, each with a port. Cheap to clone.
///
/// The default is the system (`getaddrinfo`), because its `/etc/hosts` and search order are what operators expect of a
/// name. It gives no time to live, and nothing here keeps an answer: each connection asks again.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<dyn Fn(String, u16) -> Addresses + Send + Sync>);

impl Resolver {
    #[cfg(test)]
    pub(crate) fn new(ask: impl Fn(String, u16) -> Addresses + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// Asks.
    ///
    /// # Errors
    /// When the name has no address, or nobody could be asked.
    pub(crate) async fn ask(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (self.0)(name.to_owned(), port).await
    }
}

impl Default for Resolver {
    fn default() -> Self {
        let system = |name: String, port| -> Addresses {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) })
        };
        Self(Arc::new(system))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}
