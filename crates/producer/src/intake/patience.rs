//! How long a connection may keep us waiting, told apart by what it is doing.
//!
//! hyper has one deadline for all the time between two requests, so it is the idle one, which must be longer than a load
//! balancer's (60 s is common: with a shorter one it sends requests into connections that we are about to close). A client
//! that has *begun* a request gets much less, and so does one that does not read its responses. Both are kept here, below
//! hyper, where bytes come and go.
//!
//! While the server is full, a connection that has said nothing for a second may be asked to leave for one that waits: the
//! one that has been silent longest, which is the one that has stood in the queue of [`Notify`] longest.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, Sleep, sleep},
};

use super::server::ConnectionLimits;

/// Shorter, and a connection in use might be closed while its next request is on its way.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// What a connection is doing. The server says when a request has begun and ended, the bytes say when a header has.
#[derive(Debug, Clone)]
pub(super) struct Phase(Arc<AtomicU8>);

/// The first header is awaited; a header has begun; its request is being answered; nothing.
const FRESH: u8 = 0;
const HEADER: u8 = 1;
const BUSY: u8 = 2;
const IDLE: u8 = 3;

impl Phase {
    /// A fresh connection owes us a header.
    pub(super) fn fresh() -> Self {
        Self(Arc::new(AtomicU8::new(FRESH)))
    }

    /// A header is complete.
    pub(super) fn busy(&self) {
        self.0.store(BUSY, Relaxed);
    }

    /// The response is made.
    pub(super) fn idle(&self) {
        self.0.store(IDLE, Relaxed);
    }

    fn begin_header(&self) {
        self.0.store(HEADER, Relaxed);
    }

    fn now(&self) -> u8 {
        self.0.load(Relaxed)
    }
}

/// A stream that fails with [`ErrorKind::TimedOut`] when its peer takes too long.
pub(super) struct Patient<T> {
    stream: T,
    phase: Phase,
    header_deadline: Duration,
    header: Pin<Box<Sleep>>,
    write_deadline: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    make_room: Arc<Notify>,
    /// Ends when this connection is to leave. There from the first moment of silence to its end.
    silent: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<T> Patient<T> {
    /// `make_room` is notified once for each connection that is to leave.
    pub(super) fn new(stream: T, phase: Phase, limits: &ConnectionLimits, make_room: Arc<Notify>) -> Self {
        let ConnectionLimits { header_deadline, write_deadline, .. } = *limits;
        let header = Box::pin(sleep(header_deadline));
        Self { stream, phase, header_deadline, header, write_deadline, stalled: None, make_room, silent: None }
    }

    /// Bytes have come, or the peer has closed.
    fn heard(&mut self) {
        self.silent = None;
        match self.phase.now() {
            FRESH => self.phase.begin_header(),
            IDLE => {
                self.header.as_mut().reset(Instant::now() + self.header_deadline);
                self.phase.begin_header();
            }
            _ => {}
        }
    }

    /// However steadily its bytes drip.
    fn header_is_late(&mut self, context: &mut Context<'_>) -> bool {
        matches!(self.phase.now(), FRESH | HEADER) && self.header.as_mut().poll(context).is_ready()
    }

    fn is_to_leave(&mut self, context: &mut Context<'_>) -> bool {
        if !matches!(self.phase.now(), FRESH | IDLE) {
            self.silent = None;
            return false;
        }
        let make_room = &self.make_room;
        let silent = self.silent.get_or_insert_with(|| Box::pin(asked_to_leave(make_room.clone())));
        silent.as_mut().poll(context).is_ready()
    }

    fn written<R>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let deadline = self.write_deadline;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(deadline)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if read.is_ready() {
            self.heard();
        }
        if self.header_is_late(context) || read.is_pending() && self.is_to_leave(context) {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        read
    }
}

async fn asked_to_leave(make_room: Arc<Notify>) {
    sleep(SILENT_FOR).await;
    make_room.notified().await;
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
