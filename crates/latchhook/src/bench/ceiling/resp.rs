//! As much of Redis's protocol as the ceiling needs: commands are gathered, written together, and answered in order.

use std::io;

use anyhow::{Context, bail};
use bytes::{Buf, Bytes, BytesMut};
use redis::{ConnectionAddr, IntoConnectionInfo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

const READ_AT_ONCE: usize = 64 << 10;

/// A connection.
pub(super) struct Resp {
    stream: Box<dyn Stream>,
    written: Vec<u8>,
    read: BytesMut,
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// `OK`, or a number.
    Done,
    Nil,
    Strings(Vec<Bytes>),
}

/// Where a `REDIS_URL` leads.
///
/// # Errors
/// When it is none.
pub(super) fn address(url: &str) -> anyhow::Result<ConnectionAddr> {
    Ok(url.into_connection_info().context("REDIS_URL is no URL of a Redis")?.addr().clone())
}

impl Resp {
    /// Connects, to a server that asks for no password.
    ///
    /// # Errors
    /// When nobody answers there.
    pub(super) async fn connect(address: &ConnectionAddr) -> anyhow::Result<Self> {
        let stream: Box<dyn Stream> = match address {
            ConnectionAddr::Unix(path) => Box::new(UnixStream::connect(path).await.context("cannot reach Redis")?),
            ConnectionAddr::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.context("cannot reach Redis")?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            _ => bail!("the ceiling reaches Redis by TCP or a Unix socket only"),
        };
        Ok(Self { stream, written: Vec::new(), read: BytesMut::with_capacity(READ_AT_ONCE) })
    }

    /// Adds a command.
    pub(super) fn command(&mut self, parts: &[&[u8]]) {
        begin_command(&mut self.written, parts.len());
        parts.iter().for_each(|part| string(&mut self.written, part));
    }

    /// Adds a command whose last parts, so many, are already spelt as [`string`] does.
    pub(super) fn command_with(&mut self, parts: &[&[u8]], more: usize, spelt: &[u8]) {
        begin_command(&mut self.written, parts.len() + more);
        parts.iter().for_each(|part| string(&mut self.written, part));
        self.written.extend_from_slice(spelt);
    }

    /// Adds commands that are already spelt.
    pub(super) fn commands(&mut self, spelt: &[u8]) {
        self.written.extend_from_slice(spelt);
    }

    /// Writes the commands that were added.
    ///
    /// # Errors
    /// When Redis is gone.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.written).await?;
        self.written.clear();
        Ok(())
    }

    /// The answer to the next command.
    ///
    /// # Errors
    /// When Redis is gone, or refuses.
    pub(super) async fn reply(&mut self) -> anyhow::Result<Reply> {
        let line = self.line().await?;
        match (line.first(), length(&line)) {
            (Some(b'+' | b':'), _) => Ok(Reply::Done),
            (Some(b'$' | b'*'), Some(-1)) => Ok(Reply::Nil),
            (Some(b'*'), Some(strings)) => {
                let mut all = Vec::with_capacity(usize::try_from(strings)?);
                for _ in 0..strings {
                    let head = self.line().await?;
                    all.push(self.string(length(&head).context("no string")?).await?);
                }
                Ok(Reply::Strings(all))
            }
            _ => bail!("Redis says {}", String::from_utf8_lossy(&line)),
        }
    }

    async fn line(&mut self) -> anyhow::Result<Bytes> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end + 1).freeze();
                return Ok(line.slice(..end.saturating_sub(1)));
            }
            self.read_more().await?;
        }
    }

    async fn string(&mut self, length: i64) -> anyhow::Result<Bytes> {
        let length = usize::try_from(length)?;
        while self.read.len() < length + 2 {
            self.read_more().await?;
        }
        let string = self.read.split_to(length).freeze();
        self.read.advance(2);
        Ok(string)
    }

    async fn read_more(&mut self) -> anyhow::Result<()> {
        self.read.reserve(READ_AT_ONCE);
        if self.stream.read_buf(&mut self.read).await? == 0 {
            bail!("Redis has closed the connection");
        }
        Ok(())
    }
}

/// Spells what stands before a command of so many parts.
pub(super) fn begin_command(into: &mut Vec<u8>, parts: usize) {
    number(into, b'*', parts);
}

/// Spells a string, as a part of a command.
pub(super) fn string(into: &mut Vec<u8>, string: &[u8]) {
    begin_string(into, string.len());
    into.extend_from_slice(string);
    end_string(into);
}

/// Spells what stands before a string of this length.
pub(super) fn begin_string(into: &mut Vec<u8>, length: usize) {
    number(into, b'$', length);
}

/// Spells what stands behind a string.
pub(super) fn end_string(into: &mut Vec<u8>) {
    into.extend_from_slice(b"\r\n");
}

fn number(into: &mut Vec<u8>, kind: u8, number: usize) {
    into.push(kind);
    into.extend_from_slice(number.to_string().as_bytes());
    into.extend_from_slice(b"\r\n");
}

fn length(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line.get(1..)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection to somebody who says this, and reads nothing.
    fn saying(said: &'static [u8]) -> Resp {
        let (stream, mut other) = tokio::io::duplex(16);
        tokio::spawn(async move { other.write_all(said).await });
        Resp { stream: Box::new(stream), written: Vec::new(), read: BytesMut::new() }
    }

    #[tokio::test]
    async fn answers_are_read_in_order_however_they_are_cut() {
        let mut resp = saying(b"+OK\r\n$-1\r\n:7\r\n*2\r\n$5\r\na\r\nbc\r\n$0\r\n\r\n*-1\r\n-ERR no\r\n");

        let strings = Reply::Strings(vec![Bytes::from_static(b"a\r\nbc"), Bytes::new()]);
        for expected in [Reply::Done, Reply::Nil, Reply::Done, strings, Reply::Nil] {
            assert_eq!(resp.reply().await.unwrap(), expected);
        }
        assert_eq!(resp.reply().await.unwrap_err().to_string(), "Redis says -ERR no");
    }

    #[test]
    fn a_command_is_spelt_alike_whole_or_with_parts_that_were_spelt_before() {
        let resp = || Resp { stream: Box::new(tokio::io::empty()), written: Vec::new(), read: BytesMut::new() };
        let (mut whole, mut parts, mut spelt) = (resp(), resp(), Vec::new());

        whole.command(&[b"RPUSH", b"q", b"one", b"two"]);
        [b"one", b"two"].iter().for_each(|part| string(&mut spelt, *part));
        parts.command_with(&[b"RPUSH", b"q"], 2, &spelt);

        assert_eq!(whole.written, parts.written);
        assert_eq!(whole.written, b"*4\r\n$5\r\nRPUSH\r\n$1\r\nq\r\n$3\r\none\r\n$3\r\ntwo\r\n");
    }
}
