//! Makes connections: what the guard lets through, then TLS if the URL says so.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Uri, uri::Scheme};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use crate::{
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

type Stream = TokioIo<Bounded<Either<TcpStream, TlsStream<Bounded<TcpStream>>>>>;

impl Connector {
    async fn connect(self, uri: Uri) -> Result<Stream, ConnectError> {
        let tcp = self.guard.connect(&uri).await?;
        if uri.scheme() == Some(&Scheme::HTTP) {
            return Ok(TokioIo::new(Either::Left(tcp).into()));
        }
        let _part = Part::tls();
        let name = ServerName::try_from(host_of(&uri).to_owned());
        let name = name.map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
        let tls = TlsConnector::from(self.tls).connect(name, tcp.into()).await;
        Ok(TokioIo::new(Either::Right(tls.map_err(ConnectError::Tls)?).into()))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}
