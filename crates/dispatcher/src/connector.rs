//! Makes connections: what the guard lets through, then TLS if the URL says so.

use std::{io, sync::Arc};

use database::attempts::Split;
use http::{Uri, uri::Scheme};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use crate::{
    asker::Asker,
    bounded::Bounded,
    guard::{Guard, Refusal, host_of},
    split::Part,
};

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) guard: Guard,
    pub(crate) tls: Arc<ClientConfig>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The guard has refused it, or nobody answers there.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The handshake failed, or the host cannot stand in a certificate.
    #[error("no TLS")]
    Tls(#[source] io::Error),
}

/// A connection, TLS or not.
pub(crate) type Stream = Bounded<Either<TcpStream, TlsStream<Bounded<TcpStream>>>>;

impl Connector {
    /// Connects to the host of a URL, and writes down what time went where.
    ///
    /// # Errors
    /// When the guard refuses it, nobody answers there, or there is no TLS with whoever does.
    pub(crate) async fn connect(&self, uri: &Uri, asker: Asker<'_>, split: &mut Split) -> Result<Stream, ConnectError> {
        let tcp = self.guard.connect(uri, asker, split).await?;
        if uri.scheme() == Some(&Scheme::HTTP) {
            return Ok(Either::Left(tcp).into());
        }
        let _part = Part::of(&mut split.tls);
        let name = ServerName::try_from(host_of(uri).to_owned());
        let name = name.map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
        let tls = TlsConnector::from(self.tls.clone()).connect(name, tcp.into()).await;
        Ok(Either::Right(tls.map_err(ConnectError::Tls)?).into())
    }
}
