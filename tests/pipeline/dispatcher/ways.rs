//! The receiver that misbehaves: what it can do to whoever sends to it, and what that must be taken for.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

/// What a receiver does with a connection once it has read something of the request.
#[derive(Clone, Copy)]
pub(crate) enum Does {
    /// Says this and closes the connection.
    Says(&'static [u8]),
    /// Says this and waits.
    Hangs(&'static [u8]),
    /// Says the first, then the second as often and as fast as it is taken.
    Floods(&'static [u8], &'static [u8]),
    /// Likewise, a hundred times a second.
    Drips(&'static [u8], &'static [u8]),
    /// Says this and resets the connection.
    Resets(&'static [u8]),
    /// Resets the connection before it has read anything.
    ResetsAtOnce,
    /// Leaves connections to the kernel, and accepts none.
    AcceptsNobody,
}

use Does::{AcceptsNobody, Drips, Floods, Hangs, Resets, ResetsAtOnce, Says};

/// A way to misbehave (or not quite), by http or https, with the outcome and the status that are written down.
pub(crate) struct Way(pub(crate) &'static str, pub(crate) Does, pub(crate) &'static str, pub(crate) Option<i16>);

const KIB: &[u8] = &[b'.'; 1024];

pub(crate) const BY_HTTP: &[Way] = &[
    Way("accepts nobody", AcceptsNobody, "timeout", None),
    Way("answers nothing", Hangs(b""), "timeout", None),
    Way("stops in the status line", Hangs(b"HTTP/1.1 2"), "timeout", None),
    Way("stops in the head", Hangs(b"HTTP/1.1 200 OK\r\nx: y\r\n"), "timeout", None),
    Way("stops in the body", Hangs(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n."), "timeout", Some(200)),
    Way(
        "stops before the last chunk",
        Hangs(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n.\r\n"),
        "timeout",
        Some(200),
    ),
    Way(
        "never ends the body that ends with the connection",
        Hangs(b"HTTP/1.1 200 OK\r\n\r\nhello"),
        "timeout",
        Some(200),
    ),
    Way("drips the head", Drips(b"HTTP/1.1 200 OK\r\nx: ", b"."), "timeout", None),
    Way("drips the body", Drips(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b"."), "timeout", Some(200)),
    Way(
        "drips chunks",
        Drips(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n.\r\n"),
        "timeout",
        Some(200),
    ),
    Way("asks to continue for ever", Drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "timeout", None),
    Way(
        "hints early, and early, and early",
        Floods(b"", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"),
        "too_large",
        None,
    ),
    Way("has headers without end", Floods(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"), "too_large", None),
    Way("has a header without end", Floods(b"HTTP/1.1 200 OK\r\nx: ", KIB), "too_large", None),
    Way("has a reason without end", Floods(b"HTTP/1.1 200 ", KIB), "too_large", None),
    Way("has a body without end", Floods(b"HTTP/1.1 200 OK\r\n\r\n", KIB), "too_large", Some(200)),
    Way(
        "has chunks without end",
        Floods(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"8\r\n........\r\n"),
        "too_large",
        Some(200),
    ),
    Way(
        "says little behind a great length",
        Says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
        "reset",
        Some(200),
    ),
    Way(
        "says much behind a small length",
        Says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhello"),
        "delivered",
        Some(200),
    ),
    Way(
        "has two lengths",
        Says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc"),
        "protocol",
        None,
    ),
    Way("has a negative length", Says(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"), "protocol", None),
    Way(
        "has a length beyond numbers",
        Says(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n"),
        "protocol",
        None,
    ),
    Way(
        "has chunks that are none",
        Says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n.\r\n"),
        "protocol",
        Some(200),
    ),
    Way(
        "has a chunk beyond numbers",
        Says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n"),
        "protocol",
        Some(200),
    ),
    Way(
        "extends a chunk without end",
        Floods(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", KIB),
        "protocol",
        Some(200),
    ),
    Way(
        "has trailers without end",
        Floods(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
        "protocol",
        Some(200),
    ),
    Way(
        "closes between chunks",
        Says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n.\r\n"),
        "reset",
        Some(200),
    ),
    Way("speaks another protocol", Says(b"SSH-2.0-OpenSSH_9.2\r\n"), "protocol", None),
    Way("speaks TLS", Says(b"\x15\x03\x03\0\x02\x02\x28"), "protocol", None),
    Way("speaks HTTP/0.9", Says(b"<html>hello</html>"), "protocol", None),
    Way("speaks HTTP/2 in the status line", Says(b"HTTP/2.0 200 OK\r\n\r\n"), "protocol", None),
    Way("speaks HTTP/2", Says(b"\0\0\0\x04\0\0\0\0\0"), "protocol", None),
    Way("speaks HTTP/1.0", Says(b"HTTP/1.0 200 OK\r\n\r\nhello"), "delivered", Some(200)),
    Way("has a status beyond all classes", Says(b"HTTP/1.1 999 Oh\r\ncontent-length: 0\r\n\r\n"), "status", Some(999)),
    Way("has a status of two digits", Says(b"HTTP/1.1 20 OK\r\n\r\n"), "protocol", None),
    Way("has a status that is no number", Says(b"HTTP/1.1 OK\r\n\r\n"), "protocol", None),
    Way("folds a header", Says(b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n"), "protocol", None),
    Way("has a NUL in a header", Says(b"HTTP/1.1 200 OK\r\nx: \0\r\n\r\n"), "protocol", None),
    Way(
        "switches protocols unasked",
        Hangs(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
        "status",
        Some(101),
    ),
    Way("closes without an answer", Says(b""), "reset", None),
    Way("closes in the head", Says(b"HTTP/1.1 200 OK\r\nx"), "reset", None),
    Way("resets at once", ResetsAtOnce, "reset", None),
    Way("resets instead of an answer", Resets(b""), "reset", None),
    Way(
        "redirects",
        Says(b"HTTP/1.1 302 Found\r\nlocation: https://shop.example/\r\ncontent-length: 0\r\n\r\n"),
        "redirect",
        Some(302),
    ),
    Way(
        "redirects into our network",
        Says(b"HTTP/1.1 308 Moved\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"),
        "redirect",
        Some(308),
    ),
    Way("has not modified it", Says(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "redirect", Some(304)),
    Way(
        "has a body where none can be",
        Says(b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello"),
        "delivered",
        Some(204),
    ),
    Way(
        "answers twice",
        Says(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        "status",
        Some(503),
    ),
    Way("is angry", Says(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"), "status", Some(410)),
];

pub(crate) const BY_HTTPS: &[Way] = &[
    Way("speaks plain HTTP", Says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), "tls", None),
    Way("speaks another protocol", Says(b"SSH-2.0-OpenSSH_9.2\r\n"), "tls", None),
    Way("refuses the handshake", Says(b"\x15\x03\x03\0\x02\x02\x28"), "tls", None),
    Way("closes in the handshake", Says(b""), "tls", None),
    Way("resets in the handshake", Resets(b""), "tls", None),
    Way("hangs in the handshake", Hangs(b""), "timeout", None),
    Way("drips the handshake", Drips(b"\x16\x03\x03\x3f\xff\x02\0\x3f\xfb", b"\x03"), "timeout", None),
    Way("accepts nobody", AcceptsNobody, "timeout", None),
];

/// Starts a receiver that does this to everybody. Gives its address.
pub(crate) async fn receiver(does: Does) -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        if let AcceptsNobody = does {
            std::future::pending::<()>().await;
        }
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(misbehave(does, stream));
        }
    });
    (address, AbortOnDropHandle::new(server))
}

/// Until whoever is treated like this has had enough: a connection that is gone ends it.
async fn misbehave(does: Does, mut stream: TcpStream) {
    if let ResetsAtOnce = does {
        return stream.set_zero_linger().unwrap();
    }
    let _ = stream.read(&mut [0; 4096]).await;
    match does {
        Says(words) => _ = stream.write_all(words).await,
        Hangs(words) => {
            let _ = stream.write_all(words).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        Floods(first, again) => {
            let again = again.repeat(64);
            let _ = stream.write_all(first).await;
            while stream.write_all(&again).await.is_ok() {}
        }
        Drips(first, again) => {
            let _ = stream.write_all(first).await;
            while stream.write_all(again).await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
        }
        Resets(words) => {
            let _ = stream.write_all(words).await;
            stream.set_zero_linger().unwrap();
        }
        ResetsAtOnce | AcceptsNobody => {}
    }
}
