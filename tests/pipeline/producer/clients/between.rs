//! What may stand between an app and the producer: it answers in the producer's place, and not as a producer does.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional, sink},
    net::{TcpListener, TcpStream},
    time::interval,
};

/// How often a byte drips.
const DRIP: Duration = Duration::from_millis(50);

/// What one connection is answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// These bytes, and then the end of it.
    Bytes(String),
    /// These, and then one more, over and over, as long as somebody listens.
    Dripping(String),
}

/// A whole answer, with more lines in its head, each with its end.
pub(super) fn answer(status: u16, lines: &str, body: &str) -> Answer {
    let length = body.len();
    Answer::Bytes(format!("HTTP/1.1 {status} -\r\ncontent-length: {length}\r\n{lines}\r\n{body}"))
}

/// An address at which the first connections are answered like this, one each, and all others by the producer.
pub(super) async fn between(answers: Vec<Answer>, producer: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(client, answers.next(), producer));
        }
    });
    address
}

/// A client that hangs up is why most of these end: it has what it wanted, or has enough.
async fn serve(mut client: TcpStream, answer: Option<Answer>, producer: SocketAddr) {
    let Some(answer) = answer else {
        let mut producer = TcpStream::connect(producer).await.unwrap();
        let _ = copy_bidirectional(&mut client, &mut producer).await;
        return;
    };
    let _ = client.read(&mut [0; 1024]).await;
    match answer {
        Answer::Bytes(bytes) => {
            let _ = client.write_all(bytes.as_bytes()).await;
            let _ = client.shutdown().await;
            // To close before all of the request is read is to reset, and the answer would be lost.
            let _ = copy(&mut client, &mut sink()).await;
        }
        Answer::Dripping(bytes) => {
            let (mut drops, mut ended) = (interval(DRIP), client.write_all(bytes.as_bytes()).await);
            while ended.is_ok() {
                drops.tick().await;
                ended = client.write_all(b"x").await;
            }
        }
    }
}
