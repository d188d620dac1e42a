//! How long a connection may keep us waiting, told apart by what it is doing.
//!
//! hyper has one deadline for all the time between two requests, so it is the idle one, which must be longer than a load
//! balancer's (60 s is common: with a shorter one it sends requests into connections that we are about to close). A client
//! that has *begun* a request gets much less, and so does one that does not read its responses. Both are kept here, below
//! hyper, where bytes come and go.

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
    time::{Instant, Sleep, sleep},
};

/// What a connection is doing. The server says when a request has begun and ended, the bytes say when a header has.
#[derive(Debug, Clone)]
pub(super) struct Phase(Arc<AtomicU8>);

/// A header is awaited or has begun; its request is being answered; nothing.
const HEADER: u8 = 0;
const BUSY: u8 = 1;
const IDLE: u8 = 2;

impl Phase {
    /// A fresh connection owes us a header.
    pub(super) fn fresh() -> Self {
        Self(Arc::new(AtomicU8::new(HEADER)))
    }

    /// A header is complete.
    pub(super) fn busy(&self) {
        self.0.store(BUSY, Relaxed);
    }

    /// The response is made.
    pub(super) fn idle(&self) {
        self.0.store(IDLE, Relaxed);
    }
}

/// A stream that fails with [`ErrorKind::TimedOut`] when its peer takes too long.
#[derive(Debug)]
pub(super) struct Patient<T> {
    stream: T,
    phase: Phase,
    header_deadline: Duration,
    header: Pin<Box<Sleep>>,
    write_deadline: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<T> Patient<T> {
    pub(super) fn new(stream: T, phase: Phase, header_deadline: Duration, write_deadline: Duration) -> Self {
        let header = Box::pin(sleep(header_deadline));
        Self { stream, phase, header_deadline, header, write_deadline, stalled: None }
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
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        match self.phase.0.load(Relaxed) {
            // However steadily its bytes drip.
            HEADER if self.header.as_mut().poll(context).is_ready() => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            IDLE if into.filled().len() > before => {
                let deadline = Instant::now() + self.header_deadline;
                self.header.as_mut().reset(deadline);
                self.phase.0.store(HEADER, Relaxed);
                read
            }
            _ => read,
        }
    }
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
