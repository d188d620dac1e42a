//! As much HTTP/1.1 as a sender and a customer need that must cost little: one message at a time on one connection, in one
//! write and, as a rule, one read.
//!
//! httparse reads the heads. A body has a length, or comes in chunks (Node answers so), or ends with the connection.

use std::{io, ops::Range};

use bytes::{Buf, BytesMut};
use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const MOST_HEADERS: usize = 64;
/// The longest request here is one of a few hundred messages.
const MOST_BYTES: usize = 64 << 20;
const READ_AT_ONCE: usize = 16 << 10;

/// A connection, and what has been read from it and is not used yet.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    read: BytesMut,
    /// How long the message is that was handed out last: it goes when the next one is asked for.
    used: usize,
    /// A body that came in chunks, put together.
    joined: Vec<u8>,
}

/// A request that has come whole.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: String,
    pub(super) path: String,
    /// Those that were asked for.
    pub(super) headers: HeaderMap,
    pub(super) body: &'a [u8],
}

/// An answer that has come whole.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
    /// The connection is of no further use.
    pub(super) last: bool,
}

/// A head, and where it ends.
struct Head<T> {
    what: T,
    len: usize,
    body: Body,
    last: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length(usize),
    Chunked,
    UntilEnd,
}

/// Where a body is.
enum Place {
    Read(Range<usize>),
    Joined,
}

impl Wire {
    /// Over this connection.
    pub(super) fn new(stream: TcpStream) -> Self {
        // Everything is written whole; waiting for more to write only costs time.
        let _ = stream.set_nodelay(true);
        Self { stream, read: BytesMut::with_capacity(READ_AT_ONCE), used: 0, joined: Vec::new() }
    }

    /// Writes a message.
    pub(super) async fn write(&mut self, message: &[u8]) -> io::Result<()> {
        self.stream.write_all(message).await
    }

    /// The next request, with those of its headers whose names begin so; `None` once the other side has ended in order.
    pub(super) async fn request(&mut self, headers: &str) -> io::Result<Option<Request<'_>>> {
        self.forget();
        let head = loop {
            if let Some(head) = request_head(&self.read, headers)? {
                break head;
            }
            if !self.read_more().await? {
                return if self.read.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        };
        let (method, path, headers) = head.what;
        let place = self.whole(head.len, head.body).await?;
        Ok(Some(Request { method, path, headers, body: self.at(place) }))
    }

    /// The answer to what was written.
    pub(super) async fn answer(&mut self) -> io::Result<Answer<'_>> {
        self.forget();
        let head = loop {
            if let Some(head) = answer_head(&self.read)? {
                break head;
            }
            if !self.read_more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let place = self.whole(head.len, head.body).await?;
        Ok(Answer { status: head.what, last: head.last || head.body == Body::UntilEnd, body: self.at(place) })
    }

    fn forget(&mut self) {
        self.read.advance(self.used);
        self.used = 0;
    }

    fn at(&self, place: Place) -> &[u8] {
        match place {
            Place::Read(range) => &self.read[range],
            Place::Joined => &self.joined,
        }
    }

    /// Whether there was more.
    async fn read_more(&mut self) -> io::Result<bool> {
        if self.read.len() > MOST_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.read.reserve(READ_AT_ONCE);
        Ok(self.stream.read_buf(&mut self.read).await? > 0)
    }

    async fn read_until(&mut self, len: usize) -> io::Result<()> {
        while self.read.len() < len {
            if !self.read_more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Waits for the whole body of the message whose head is so long.
    async fn whole(&mut self, head: usize, body: Body) -> io::Result<Place> {
        match body {
            Body::Length(length) => {
                self.read_until(head.saturating_add(length)).await?;
                self.used = head + length;
                Ok(Place::Read(head..self.used))
            }
            Body::UntilEnd => {
                while self.read_more().await? {}
                self.used = self.read.len();
                Ok(Place::Read(head..self.used))
            }
            Body::Chunked => {
                self.join(head).await?;
                Ok(Place::Joined)
            }
        }
    }

    /// Puts chunks together, up to the one that is empty. Trailers are not for us.
    async fn join(&mut self, mut at: usize) -> io::Result<()> {
        self.joined.clear();
        loop {
            let parsed = httparse::parse_chunk_size(&self.read[at..]);
            let parsed = parsed.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            let httparse::Status::Complete((line, size)) = parsed else {
                self.read_until(self.read.len() + 1).await?;
                continue;
            };
            let chunk = at + line..at + line + usize::try_from(size).unwrap_or(usize::MAX).min(MOST_BYTES);
            self.read_until(chunk.end + 2).await?;
            at = chunk.end + 2;
            self.joined.extend_from_slice(&self.read[chunk.clone()]);
            if chunk.is_empty() {
                self.used = at;
                return Ok(());
            }
        }
    }
}

type RequestLine = (String, String, HeaderMap);

fn request_head(read: &[u8], wanted: &str) -> io::Result<Option<Head<RequestLine>>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(len) = request.parse(read).map_err(io::Error::other)? else { return Ok(None) };
    let kept = kept(request.headers, wanted)?;
    let line = (request.method.unwrap_or_default().to_owned(), request.path.unwrap_or_default().to_owned(), kept);
    let body = body(request.headers).unwrap_or(Body::Length(0));
    Ok(Some(Head { what: line, len, body, last: false }))
}

fn answer_head(read: &[u8]) -> io::Result<Option<Head<u16>>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(len) = answer.parse(read).map_err(io::Error::other)? else { return Ok(None) };
    let status = answer.code.unwrap_or_default();
    let bare = matches!(status, 100..=199 | 204 | 304);
    let body = if bare { Body::Length(0) } else { body(answer.headers).unwrap_or(Body::UntilEnd) };
    let last = value(answer.headers, "connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    Ok(Some(Head { what: status, len, body, last }))
}

fn body(headers: &[httparse::Header<'_>]) -> Option<Body> {
    if value(headers, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case(b"chunked")) {
        return Some(Body::Chunked);
    }
    let length = value(headers, "content-length")?;
    std::str::from_utf8(length).ok()?.trim().parse().ok().map(Body::Length)
}

fn value<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

fn kept(headers: &[httparse::Header<'_>], wanted: &str) -> io::Result<HeaderMap> {
    let mut kept = HeaderMap::new();
    let is_wanted = |name: &str| name.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted));
    for header in headers.iter().filter(|header| is_wanted(header.name)) {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(io::Error::other)?;
        kept.append(name, HeaderValue::from_bytes(header.value).map_err(io::Error::other)?);
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// The two ends of a connection; the first has been written these parts, each by itself.
    async fn written(parts: &'static [&'static str]) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut other = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            for part in parts {
                other.write_all(part.as_bytes()).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        });
        Wire::new(stream)
    }

    #[tokio::test]
    async fn requests_come_one_after_the_other_however_they_are_cut() {
        let mut wire = written(&[
            "POST /1 HTTP/1.1\r\nwebhook-id: a\r\nhost: x\r\nContent-Le",
            "ngth: 5\r\n\r\nhel",
            "loGET /counts HTTP/1.1\r\n\r\n",
        ])
        .await;

        let request = wire.request("webhook-").await.unwrap().unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str(), request.body), ("POST", "/1", &b"hello"[..]));
        assert_eq!((request.headers.len(), &request.headers["webhook-id"]), (1, &HeaderValue::from_static("a")));
        let request = wire.request("webhook-").await.unwrap().unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str(), request.body), ("GET", "/counts", &b""[..]));
        assert!(wire.request("webhook-").await.unwrap().is_none(), "the other side has ended");
    }

    #[tokio::test]
    async fn answers_have_a_length_or_chunks_or_no_body_at_all_or_end_with_the_connection() {
        let mut wire = written(&[
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
            "c\r\n2\r\nde\r\n0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.0 503 No\r\n\r\nlater",
        ])
        .await;

        let mut heard = Vec::new();
        for _ in 0..4 {
            let answer = wire.answer().await.unwrap();
            heard.push((answer.status, String::from_utf8(answer.body.to_vec()).unwrap(), answer.last));
        }

        let expected = [(200, "ok", false), (200, "abcde", false), (204, "", false), (503, "later", true)];
        assert_eq!(heard, expected.map(|(status, body, last)| (status, body.to_owned(), last)));
    }
}
