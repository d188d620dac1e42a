//! The fault proxy: stands between the fleet and a server, and does to the connections what networks do.
//!
//! The cast: a [`Proxy`] listens on this machine and passes each connection on to the server's Unix socket; the
//! [`Weather`] says how bytes pass; a [`CommitCut`] asks for the next COMMITs to be cut off, before Postgres hears of them
//! or before the client hears of the answer ([`commits`] knows what a COMMIT looks like).
//!
//! The thing to know: whatever happens to a byte happens at the moment at which it would be passed on, so that nothing is
//! parsed, cut or counted in a black hole. A client is reset (RST), the server sees the connection end.

mod commits;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::commits::{Conversation, Side};

use crate::lock::lock;

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;
/// Chunks that may be on their way in one direction; what a slow network holds is bounded too.
const ON_THEIR_WAY: usize = 1024;

/// How bytes pass, for present and future connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// At once.
    Fair,
    /// Each chunk that much later, each way; their order is kept, and one does not wait for another.
    Slow(Duration),
    /// Nothing passes, not even an end. Connections stay; what was sent passes when the weather changes. The kernel goes on
    /// answering keepalives for us, so this is a peer that hangs, and only deadlines of one's own help against it.
    BlackHole,
    /// New connections are closed at once, present ones are reset.
    Refusing,
}

/// On which side of the server's decision a COMMIT is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitCut {
    /// The server never gets it, and rolls back.
    BeforeServer,
    /// The server has committed, and the client is never told.
    AfterServer,
}

/// A listener in front of a server. Dropping it ends every connection.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _listener: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: PathBuf,
    /// Changed only with `present` locked, so that no connection is admitted in weather that has just passed.
    weather: watch::Sender<Weather>,
    present: Mutex<HashMap<usize, CancellationToken>>,
    admitted: AtomicUsize,
    cuts: Mutex<Cuts>,
}

/// COMMITs that are still to be cut, and how many were.
#[derive(Debug, Default)]
struct Cuts {
    ordered: Option<(usize, CommitCut)>,
    done: usize,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes connections on to the Unix socket `target`, in fair weather.
    ///
    /// # Errors
    /// When there is no free port.
    pub(crate) async fn start(target: PathBuf) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            weather: watch::Sender::new(Weather::Fair),
            present: Mutex::default(),
            admitted: AtomicUsize::new(0),
            cuts: Mutex::default(),
        });
        let listener = tokio::spawn(listen(listener, shared.clone()));
        Ok(Self { address, shared, _listener: AbortOnDropHandle::new(listener) })
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather, for present and future connections.
    pub(crate) fn set(&self, weather: Weather) {
        let mut present = lock(&self.shared.present);
        self.shared.weather.send_replace(weather);
        if weather == Weather::Refusing {
            reset_all(&mut present);
        }
    }

    /// Resets every present connection; says how many.
    pub(crate) fn cut(&self) -> usize {
        reset_all(&mut lock(&self.shared.present))
    }

    /// Cuts the next `n` COMMITs that pass, in place of what was ordered before. Only those that are sent as a simple
    /// query count, as diesel-async and tokio-postgres do.
    pub(crate) fn cut_commits(&self, n: usize, when: CommitCut) {
        lock(&self.shared.cuts).ordered = Some((n, when));
    }

    /// How many COMMITs were cut so far.
    pub(crate) fn commits_cut(&self) -> usize {
        lock(&self.shared.cuts).done
    }

    /// How many connections there are at this moment.
    #[cfg(test)]
    pub(crate) fn connections(&self) -> usize {
        lock(&self.shared.present).len()
    }

    /// How many connections there have been.
    #[cfg(test)]
    pub(crate) fn admitted(&self) -> usize {
        self.shared.admitted.load(Ordering::Relaxed)
    }
}

fn reset_all(present: &mut HashMap<usize, CancellationToken>) -> usize {
    present.drain().map(|(_, reset)| reset.cancel()).count()
}

/// Runs until it is aborted, and every connection with it.
async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => { connections.spawn(serve(client, shared.clone())); }
            Some(_) = connections.join_next() => {}
            // No connection to accept for want of file descriptors: there will be some when others have ended.
            else => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    // A proxy that collects small packets would be slower than any weather.
    let _ = client.set_nodelay(true);
    let Some((number, reset)) = shared.admit() else {
        let _ = client.set_zero_linger();
        return;
    };
    let ended = tokio::select! {
        ended = shared.pass(&mut client) => ended,
        () = reset.cancelled() => Err(io::ErrorKind::ConnectionReset.into()),
    };
    lock(&shared.present).remove(&number);
    if ended.is_err() {
        let _ = client.set_zero_linger();
    }
}

impl Shared {
    fn admit(&self) -> Option<(usize, CancellationToken)> {
        let mut present = lock(&self.present);
        if *self.weather.borrow() == Weather::Refusing {
            return None;
        }
        let (number, reset) = (self.admitted.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        present.insert(number, reset.clone());
        Some((number, reset))
    }

    /// Passes both ways, until both have ended in order or one is broken.
    async fn pass(&self, client: &mut TcpStream) -> io::Result<()> {
        self.until_something_passes().await;
        let mut server = UnixStream::connect(&self.target).await?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let conversation = Conversation::default();
        let up = self.pass_one_way(from_client, to_server, conversation.side(CommitCut::BeforeServer));
        let down = self.pass_one_way(from_server, to_client, conversation.side(CommitCut::AfterServer));
        tokio::try_join!(up, down).map(|_| ())
    }

    async fn pass_one_way(
        &self,
        from: impl AsyncRead + Unpin,
        to: impl AsyncWrite + Unpin,
        side: Side<'_>,
    ) -> io::Result<()> {
        let (sender, receiver) = mpsc::channel(ON_THEIR_WAY);
        tokio::try_join!(self.take(from, sender), self.hand_on(receiver, to, side)).map(|_| ())
    }

    /// Stamps each chunk with the time at which it is due on the other side. The end is an empty chunk.
    async fn take(&self, mut from: impl AsyncRead + Unpin, sender: mpsc::Sender<(Instant, Bytes)>) -> io::Result<()> {
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            let len = from.read_buf(&mut chunk).await?;
            let delay = match *self.weather.borrow() {
                Weather::Slow(delay) => delay,
                Weather::Fair | Weather::BlackHole | Weather::Refusing => Duration::ZERO,
            };
            if sender.send((Instant::now() + delay, chunk.freeze())).await.is_err() || len == 0 {
                return Ok(());
            }
        }
    }

    async fn hand_on(
        &self,
        mut receiver: mpsc::Receiver<(Instant, Bytes)>,
        mut to: impl AsyncWrite + Unpin,
        mut side: Side<'_>,
    ) -> io::Result<()> {
        while let Some((due, chunk)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            self.until_something_passes().await;
            if chunk.is_empty() {
                return to.shutdown().await;
            }
            let passed = side.pass(&chunk, |when| self.take_cut(when))?;
            to.write_all(&passed).await?;
        }
        Ok(())
    }

    async fn until_something_passes(&self) {
        // The sender is ours, so it is there.
        let _ = self.weather.subscribe().wait_for(|weather| *weather != Weather::BlackHole).await;
    }

    /// Whether the COMMIT that is about to pass here is one of those to be cut.
    fn take_cut(&self, when: CommitCut) -> bool {
        let mut cuts = lock(&self.cuts);
        match &mut cuts.ordered {
            Some((left, ordered)) if *ordered == when && *left > 0 => *left -= 1,
            _ => return false,
        }
        cuts.done += 1;
        true
    }
}
