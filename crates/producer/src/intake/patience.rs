//! How long a connection may keep us waiting, told apart by what it is doing.
//!
//! hyper has one deadline for all the time between two requests. But a connection that idles must be given longer than a load
//! balancer gives it (60 s is common: else it sends requests into connections that we are about to close), and a client that has
//! *begun* a request gets much less, as does one that does not read its responses. So all are kept here, below hyper, where bytes
//! come and go, and hyper is given none.
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
    sync::{Notify, futures::OwnedNotified},
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::server::ConnectionLimits;

/// Shorter, and a connection in use might be closed while its next request is on its way.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// What a connection is doing. The server says when a request has begun and its answer ended, the bytes say when a header has.
#[derive(Debug, Clone)]
pub(super) struct Phase(Arc<AtomicU8>);

/// The first header is awaited; a header has begun; its request is being answered; the answer has just ended; nothing.
const FRESH: u8 = 0;
const HEADER: u8 = 1;
const BUSY: u8 = 2;
const ANSWERED: u8 = 3;
const IDLE: u8 = 4;

impl Phase {
    /// A fresh connection owes us a header.
    pub(super) fn fresh() -> Self {
        Self(Arc::new(AtomicU8::new(FRESH)))
    }

    /// A header is complete. Its request is being answered until what this gives is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.set(BUSY);
        Busy(self.clone())
    }

    fn set(&self, phase: u8) {
        self.0.store(phase, Relaxed);
    }

    fn now(&self) -> u8 {
        self.0.load(Relaxed)
    }
}

/// A request that is being answered.
pub(super) struct Busy(Phase);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.set(ANSWERED);
    }
}

/// A stream that fails with [`ErrorKind::TimedOut`] when its peer takes too long.
pub(super) struct Patient<T> {
    stream: T,
    phase: Phase,
    limits: ConnectionLimits,
    /// What it is waited for, and from when on.
    waits: Option<(u8, Instant)>,
    alarm: Alarm,
    stalled: Option<Pin<Box<Sleep>>>,
    make_room: Arc<Notify>,
    /// Ends when this connection is to leave. There from a second of silence to its end.
    leaving: Option<Pin<Box<OwnedNotified>>>,
}

impl<T> Patient<T> {
    /// `make_room` is notified once for each connection that is to leave.
    pub(super) fn new(stream: T, phase: Phase, limits: ConnectionLimits, make_room: Arc<Notify>) -> Self {
        let alarm = Alarm::at(Instant::now() + SILENT_FOR);
        Self { stream, phase, limits, waits: None, alarm, stalled: None, make_room, leaving: None }
    }

    /// Bytes have come, or the peer has closed.
    fn heard(&mut self) {
        self.leaving = None;
        match self.phase.now() {
            FRESH => self.phase.set(HEADER),
            ANSWERED | IDLE => self.begin(HEADER),
            _ => {}
        }
    }

    /// It is waited anew, also for what was waited for before: a client whose next requests came with the first, or while it
    /// was answered, is heard between none of them.
    fn begin(&mut self, phase: u8) {
        self.waits = None;
        self.phase.set(phase);
    }

    /// Whether the peer has taken longer than it may for what it is doing, however steadily its bytes drip, or is to leave.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        if self.phase.now() == ANSWERED {
            self.begin(IDLE);
        }
        let phase = self.phase.now();
        let (deadline, is_silent) = match phase {
            FRESH => (self.limits.header_deadline, true),
            HEADER => (self.limits.header_deadline, false),
            IDLE => (self.limits.idle_deadline, true),
            _ => return false,
        };
        let since = self.since(phase);
        if is_silent && self.leaving.is_none() {
            if !self.alarm.is_over(since + SILENT_FOR.min(deadline), context) {
                return false;
            }
            self.leaving = Some(Box::pin(self.make_room.clone().notified_owned()));
        }
        let is_to_leave = self.leaving.as_mut().is_some_and(|leaving| leaving.as_mut().poll(context).is_ready());
        is_to_leave || self.alarm.is_over(since + deadline, context)
    }

    /// From when on it is in this phase. The first header is owed from the beginning.
    fn since(&mut self, phase: u8) -> Instant {
        match self.waits {
            Some((before, since)) if before == phase || (before, phase) == (FRESH, HEADER) => since,
            _ => self.waits.insert((phase, Instant::now())).1,
        }
    }

    fn written<R>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let deadline = self.limits.write_deadline;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(deadline)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

/// A timer that costs nothing to put off: it goes off as it was set, and is only then set to the later time. So a busy
/// connection sets one once a second, and not with each request.
struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    fn at(at: Instant) -> Self {
        Self(Box::pin(sleep_until(at)))
    }

    /// Whether it is later than this. If not, the task is woken then, or before.
    fn is_over(&mut self, at: Instant, context: &mut Context<'_>) -> bool {
        if at < self.0.deadline() {
            self.0.as_mut().reset(at);
        }
        while self.0.as_mut().poll(context).is_ready() {
            if self.0.deadline() >= at {
                return true;
            }
            self.0.as_mut().reset(at);
        }
        false
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if read.is_ready() {
            self.heard();
        }
        read
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

    /// hyper asks for this last, whenever it has done what it could and waits.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        if self.is_over(context) { Poll::Ready(Err(ErrorKind::TimedOut.into())) } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
