//! The customer: verifies each delivery as a customer does, counts it by its `webhook-id`, and answers 200.
//!
//! One thread, and HTTP by hand, because it shares the cores with what it measures. Any path is an endpoint's, but for
//! `GET /counts`, which tells what came so far, and `POST /reset`, which forgets it.

mod inbox;

use std::{
    borrow::Cow,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use dispatcher::signing::SigningSecret;
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::wire::{Request, Wire};
pub(crate) use inbox::Counts;
use inbox::Inbox;

/// A dispatcher that comes back opens all its connections at once.
const BACKLOG: u32 = 1024;
const CONTENT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const NOT_BELIEVED: &[u8] = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";

/// Where to listen, and whom to believe.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// What signs the deliveries
    #[arg(long, value_name = "whsec_…")]
    pub(crate) secret: SecretString,
}

type Shared = Arc<Mutex<Inbox>>;

/// A customer that listens, and hears nothing yet.
pub(crate) struct Customer {
    listener: TcpListener,
    inbox: Shared,
}

impl Customer {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the secret is none.
    pub(crate) fn listen(options: &Options) -> anyhow::Result<Self> {
        let secret = SigningSecret::parse(&options.secret)?;
        let socket = if options.listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(options.listen).with_context(|| format!("cannot listen on {}", options.listen))?;
        Ok(Self { listener: socket.listen(BACKLOG)?, inbox: Arc::new(Mutex::new(Inbox::new(secret))) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves, for as long as it is polled.
    pub(crate) async fn serve(self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(connection(stream, self.inbox.clone()))),
                // For want of file descriptors: there will be some when others have ended.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

/// An error, or a request that is none, ends the connection.
async fn connection(stream: TcpStream, inbox: Shared) {
    let mut wire = Wire::new(stream);
    while let Ok(Some(request)) = wire.request("webhook-").await {
        let answer = answer(&mut inbox.lock().unwrap_or_else(PoisonError::into_inner), &request);
        if wire.write(&answer).await.is_err() {
            return;
        }
    }
}

fn answer(inbox: &mut Inbox, request: &Request<'_>) -> Cow<'static, [u8]> {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/counts") => with_body(&serde_json::to_vec(&inbox.counts()).unwrap_or_default()).into(),
        ("POST", "/reset") => {
            inbox.forget();
            CONTENT.into()
        }
        _ if inbox.hear(&request.headers, request.body) => CONTENT.into(),
        _ => NOT_BELIEVED.into(),
    }
}

fn with_body(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
