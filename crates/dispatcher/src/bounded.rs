//! A connection that carries only so much of an answer.
//!
//! Heads and bodies have bounds of their own, which what stands before a head walks around: interim answers (1xx) without
//! end cost a processor for as long as the deadline lets them. So the bytes themselves are counted, from the last that we
//! have written.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::kept::Kept;

/// Far more than the largest answer that is taken, 64 KiB of body in chunks of one byte each.
const MOST_BYTES: usize = 1 << 20;

/// A head and a body that are no larger are copied into one write: that costs less than to write them in parts.
const SMALL: usize = 4 << 10;

/// A connection, read up to a limit after each write. With TLS there is one below it, and one above that sees what was meant
/// for us.
pub(crate) struct Bounded<S> {
    stream: S,
    read: usize,
    kept: Kept,
    joined: Vec<u8>,
}

/// More came than any answer has.
#[derive(Debug, thiserror::Error)]
#[error("more than {MOST_BYTES} bytes came, and no end of the answer")]
pub(crate) struct TooMuch;

impl<S> From<S> for Bounded<S> {
    fn from(stream: S) -> Self {
        Self { stream, read: 0, kept: Kept::default(), joined: Vec::new() }
    }
}

impl<S> Bounded<S> {
    /// Whether it has said anything.
    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read > MOST_BYTES {
            return Poll::Ready(Err(io::Error::other(TooMuch)));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let came = buf.filled().len() - before;
        self.read += came;
        if came > 0 {
            self.kept.hears();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.read = 0;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.read = 0;
        let Self { stream, joined, .. } = &mut *self;
        if parts.iter().map(|part| part.len()).sum::<usize>() > SMALL {
            return Pin::new(stream).poll_write_vectored(cx, parts);
        }
        joined.clear();
        parts.iter().for_each(|part| joined.extend_from_slice(part));
        Pin::new(stream).poll_write(cx, joined)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
