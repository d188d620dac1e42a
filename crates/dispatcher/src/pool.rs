//! Connections that are kept, because to make one costs three times as much as to send over it.
//!
//! One carries a request at a time, and is kept once its answer was read to the end. It is used again by whoever sends to the
//! same place, the last one that was put back first, so that those which are not needed idle, and are closed for it.

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use database::attempts::Split;
use http::{HeaderValue, Uri};
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep, timeout_at},
};
use tracing::debug;

use crate::{
    asker::Asker,
    connector::Connector,
    guard::{Refusal, parse},
    kept::Kept,
};

/// About the most bytes of an answer's head that are read: hyper reads in steps that double, so up to twice as much may pass.
const MOST_HEAD: usize = 32 * 1024;
/// Shorter than the five seconds after which the commonest servers close an idle connection, so that we seldom write into
/// one that is just being closed.
const IDLE: Duration = Duration::from_secs(4);
/// A connection is used for so long at most: where an endpoint is, and whether it may be sent to there, is asked anew each
/// minute, however busy it is.
const OLDEST: Duration = Duration::from_secs(60);

/// Where a URL leads, as requests to it are made.
pub(crate) struct Place {
    /// The whole of it.
    pub(crate) uri: Uri,
    /// Scheme, host and port: what a connection is made to.
    origin: Arc<str>,
    /// The value of `host`.
    pub(crate) host: HeaderValue,
    /// What the server is asked for: path and query.
    pub(crate) path: Uri,
}

impl Place {
    /// Reads a URL, as [`parse`] does.
    ///
    /// # Errors
    /// When there is no such place, or nobody may be sent there.
    pub(crate) fn parse(url: &str) -> Result<Self, Refusal> {
        let uri = parse(url)?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let origin = format!("{}://{authority}", uri.scheme_str().unwrap_or_default()).into();
        let host = HeaderValue::from_str(authority).expect("an authority is of visible ASCII");
        let path = uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
        Ok(Self { uri, origin, host, path })
    }
}

/// What requests are sent over.
pub(crate) struct Connection {
    pub(crate) requests: SendRequest<Full<Bytes>>,
    pub(crate) kept: Kept,
    /// When it is too old.
    until: Instant,
    /// When it will have idled for too long.
    idles_until: Instant,
    task: AbortHandle,
}

impl Connection {
    fn is_usable(&self, now: Instant) -> bool {
        !self.requests.is_closed() && now < self.until && now < self.idles_until
    }
}

impl Drop for Connection {
    /// Who drops one that is not done has given up its request. hyper would first write what it has of it, for as long as the
    /// customer does not read, and the body would outlive the attempt.
    fn drop(&mut self) {
        if !self.requests.is_ready() {
            self.task.abort();
        }
    }
}

/// Makes connections, and keeps them. Cheap to clone; clones keep the same.
#[derive(Clone)]
pub(crate) struct Pool {
    pub(crate) connector: Connector,
    idle: Arc<Mutex<Idle>>,
    /// How long one is used.
    oldest: Duration,
}

struct Idle {
    connections: HashMap<Arc<str>, Vec<Connection>>,
    /// How long one may idle.
    longest: Duration,
    is_swept: bool,
}

impl Pool {
    pub(crate) fn new(connector: Connector) -> Self {
        Self::keeping(connector, IDLE, OLDEST)
    }

    /// One whose connections may idle for so long, and grow so old.
    fn keeping(connector: Connector, longest: Duration, oldest: Duration) -> Self {
        let idle = Idle { connections: HashMap::new(), longest, is_swept: false };
        Self { connector, idle: Arc::new(Mutex::new(idle)), oldest }
    }

    /// A connection that was used before, if there is one that may be used now.
    pub(crate) fn kept(&self, to: &Place, now: Instant) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        let connections = idle.connections.get_mut(&to.origin)?;
        let connection = std::iter::from_fn(|| connections.pop()).find(|connection| connection.is_usable(now))?;
        connection.kept.used_again();
        Some(connection)
    }

    /// A new one.
    ///
    /// # Errors
    /// A [`ConnectError`](crate::connector::ConnectError), or one of hyper's.
    pub(crate) async fn connect(
        &self,
        to: &Place,
        asker: Asker<'_>,
        split: &mut Split,
    ) -> Result<Connection, Box<dyn Error + Send + Sync>> {
        let stream = self.connector.connect(&to.uri, asker, split).await?;
        let (kept, until) = (stream.kept().clone(), Instant::now() + self.oldest);
        let (requests, connection) = Builder::new().max_buf_size(MOST_HEAD).handshake(TokioIo::new(stream)).await?;
        let task = tokio::spawn(drive(connection, until + asker.patience)).abort_handle();
        Ok(Connection { requests, kept, until, idles_until: until, task })
    }

    /// Puts a connection back whose answer was read to the end. Who has answered before he has read the request is waited for,
    /// until the connection's own end at the latest.
    pub(crate) fn put_back(&self, to: &Place, mut connection: Connection) {
        let (idle, origin) = (self.idle.clone(), to.origin.clone());
        if connection.requests.is_ready() {
            return keep(&idle, origin, connection);
        }
        tokio::spawn(async move {
            if connection.requests.ready().await.is_ok() {
                keep(&idle, origin, connection);
            }
        });
    }

    /// Lets what is kept be so much older.
    #[cfg(test)]
    pub(crate) fn age(&self, by: Duration) {
        lock(&self.idle).connections.values_mut().flatten().for_each(|connection| connection.until -= by);
    }
}

/// Until its end, or until the last request that may be on it has had its time: a customer who does not read would hold it
/// for ever, also while it is being closed.
async fn drive<F: Future<Output = hyper::Result<()>>>(connection: F, until: Instant) {
    match timeout_at(until, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(error = &error as &dyn Error, "a connection has ended early"),
        Err(_) => debug!("a connection is let go that its customer does not read from"),
    }
}

fn keep(idle: &Arc<Mutex<Idle>>, origin: Arc<str>, mut connection: Connection) {
    let (weak, mut idle) = (Arc::downgrade(idle), lock(idle));
    connection.idles_until = Instant::now() + idle.longest;
    idle.connections.entry(origin).or_default().push(connection);
    if !std::mem::replace(&mut idle.is_swept, true) {
        tokio::spawn(keep_sweeping(weak, idle.longest));
    }
}

/// For as long as somebody may send.
async fn keep_sweeping(idle: Weak<Mutex<Idle>>, every: Duration) {
    loop {
        sleep(every).await;
        let Some(idle) = idle.upgrade() else { return };
        sweep(&idle, Instant::now());
    }
}

/// Closes what nobody has used for a while.
fn sweep(idle: &Mutex<Idle>, now: Instant) {
    lock(idle).connections.retain(|_, connections| {
        connections.retain(|connection| connection.is_usable(now));
        !connections.is_empty()
    });
}

fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
