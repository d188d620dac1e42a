//! One connection: reads requests one after the other, and answers each as the endpoint's mood is.

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Mood, Shared};

const MOST_HEADERS: usize = 64;
/// Nothing that a dispatcher sends comes near; it keeps a mistake from filling the memory.
const MOST_BYTES: usize = 16 << 20;
const DRIP: Duration = Duration::from_millis(200);

/// A request whose last byte has come.
struct Request {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// Serves a connection until either side ends it.
pub(super) async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut read = BytesMut::new();
    while let Ok(Some(request)) = next_request(&mut stream, &mut read).await {
        let answered = match shared.hear(request.path.trim_start_matches('/'), &request.headers, &request.body) {
            Some((place, mood)) => answer(&mut stream, &shared, place, mood).await,
            None => write(&mut stream, StatusCode::NOT_FOUND, None).await,
        };
        if answered.is_err() {
            // Where the answer was broken off on purpose this is the point of it; elsewhere nobody is there any more.
            let _ = stream.set_zero_linger();
            return;
        }
    }
}

/// An error ends the connection by a reset.
async fn answer(stream: &mut TcpStream, shared: &Shared, place: usize, mood: Mood) -> io::Result<()> {
    let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
    let (status, header) = match mood {
        Mood::Content | Mood::Mixed(_) => (StatusCode::OK, None),
        Mood::Answers(status, header) => (StatusCode::from_u16(status).map_err(io::Error::other)?, header),
        Mood::AnswersLate(pause) => {
            tokio::time::sleep(pause).await;
            (StatusCode::OK, None)
        }
        Mood::Hangs => {
            until_left(stream).await;
            return Err(reset());
        }
        Mood::Drips => return drip(stream).await,
        Mood::BreaksOff => return Err(reset()),
        Mood::BreaksOffHalfway => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf ").await?;
            return Err(reset());
        }
    };
    write(stream, status, header).await?;
    if status.is_success() {
        shared.said_yes(place);
    }
    Ok(())
}

async fn write(stream: &mut TcpStream, status: StatusCode, header: Option<(&'static str, String)>) -> io::Result<()> {
    let header = header.map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
    // What a status may not have a body with may not have its length either.
    let length = if status == StatusCode::NO_CONTENT { "" } else { "content-length: 0\r\n" };
    stream.write_all(format!("HTTP/1.1 {status}\r\n{header}{length}\r\n").as_bytes()).await
}

/// Ends with an error when the other side has had enough.
async fn drip(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await?;
    loop {
        stream.write_all(b".").await?;
        tokio::time::sleep(DRIP).await;
    }
}

/// Until the other side has ended the connection.
async fn until_left(stream: &mut TcpStream) {
    while stream.read(&mut [0; 1024]).await.is_ok_and(|len| len > 0) {}
}

/// The next request, whole; `None` when the other side has ended the connection in order.
async fn next_request(stream: &mut TcpStream, read: &mut BytesMut) -> io::Result<Option<Request>> {
    let (path, headers, head_len) = loop {
        if let Some(head) = parse_head(read)? {
            break head;
        }
        if stream.read_buf(read).await? == 0 {
            return if read.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        if read.len() > MOST_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    };
    let length = headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let length: usize = length.unwrap_or(0);
    if length > MOST_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    while read.len() < head_len + length {
        if stream.read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let body = read.split_to(head_len + length).freeze().slice(head_len..);
    Ok(Some(Request { path, headers, body }))
}

/// Path, headers and length of the head, once it is there whole. A body of unknown length is not for customers of ours:
/// a dispatcher knows what it sends.
fn parse_head(read: &[u8]) -> io::Result<Option<(String, HeaderMap, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(len) = request.parse(read).map_err(io::Error::other)? else { return Ok(None) };
    let path = request.path.unwrap_or_default().to_owned();
    let mut headers = HeaderMap::new();
    for header in request.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(io::Error::other)?;
        headers.append(name, HeaderValue::from_bytes(header.value).map_err(io::Error::other)?);
    }
    if headers.contains_key(http::header::TRANSFER_ENCODING) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(Some((path, headers, len)))
}
