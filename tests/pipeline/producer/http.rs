//! A client that sends exactly the bytes that it is told to.

use std::{net::SocketAddr, time::Duration};

use httparse::Status;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{interval, timeout},
};

/// Longer than any deadline of the tests' servers: who waits for longer waits for nothing.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Response {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The status, and the `error` of the body, which must be the whole of it.
    pub(super) fn error(&self) -> (u16, String) {
        let body: serde_json::Map<_, _> = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body.len(), 1, "{body:?}");
        (self.status, body["error"].as_str().unwrap().to_owned())
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The seconds after which to try again.
    pub(super) fn retry_after(&self) -> Option<u64> {
        self.header("retry-after")?.parse().ok()
    }
}

/// One connection.
pub(super) struct Connection {
    writer: OwnedWriteHalf,
    reader: OwnedReadHalf,
    read: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Self {
        let (reader, writer) = TcpStream::connect(address).await.unwrap().into_split();
        Self { writer, reader, read: Vec::new() }
    }

    /// Fails when the other side has hung up.
    pub(super) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.writer.write_all(bytes).await
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.unwrap();
    }

    /// The next response; `None` when the server has closed the connection instead.
    pub(super) async fn receive(&mut self) -> Option<Response> {
        let response = next_response(&mut self.reader, &mut self.read);
        timeout(PATIENCE, response).await.expect("the server answers or hangs up")
    }

    /// The next chunk of a body that comes in chunks; the last is empty. `None` when the server has closed the connection instead.
    pub(super) async fn chunk(&mut self) -> Option<String> {
        let chunk = next_chunk(&mut self.reader, &mut self.read);
        timeout(PATIENCE, chunk).await.expect("the server says more or hangs up")
    }

    /// As [`Connection::receive`], while it sends a byte every few milliseconds.
    pub(super) async fn drip(&mut self) -> Option<Response> {
        let mut ticks = interval(Duration::from_millis(20));
        let dripping = async {
            ticks.tick().await;
            while self.writer.write_all(b"x").await.is_ok() {
                ticks.tick().await;
            }
            std::future::pending().await
        };
        let response = timeout(PATIENCE, next_response(&mut self.reader, &mut self.read));
        tokio::select! {
            response = response => response.expect("the server answers or hangs up"),
            () = dripping => None,
        }
    }
}

async fn next_response(reader: &mut OwnedReadHalf, read: &mut Vec<u8>) -> Option<Response> {
    loop {
        if let Some((response, length)) = parse(read) {
            read.drain(..length);
            return Some(response);
        }
        match reader.read_buf(read).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

async fn next_chunk(reader: &mut OwnedReadHalf, read: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Ok(Status::Complete((start, length))) = httparse::parse_chunk_size(read) {
            let end = start + usize::try_from(length).unwrap();
            if let Some(chunk) = read.get(start..end).map(<[u8]>::to_vec)
                && read.len() >= end + 2
            {
                read.drain(..end + 2);
                return Some(String::from_utf8(chunk).unwrap());
            }
        }
        match reader.read_buf(read).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

fn parse(bytes: &[u8]) -> Option<(Response, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut response = Response { status, head, body: Vec::new() };
    let length: usize = response.header("content-length").map_or(0, |length| length.parse().unwrap());
    response.body = bytes.get(end..end + length)?.to_vec();
    Some((response, end + length))
}

/// One request on a connection of its own.
pub(super) async fn exchange(address: SocketAddr, request: &[u8]) -> Response {
    let mut connection = Connection::open(address).await;
    connection.send(request).await;
    connection.receive().await.expect("an answer")
}

pub(super) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nhost: latchhook\r\n\r\n").into_bytes()
}

/// The head of a `POST`, and its body.
pub(super) fn post(target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let head = head(target, &[headers, &[("content-length", &length)]].concat());
    [head.as_slice(), body].concat()
}

pub(super) fn head(target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("POST {target} HTTP/1.1\r\nhost: latchhook\r\n{lines}\r\n").into_bytes()
}
