//! The intake: verifies, pushes what came at the same moment in one command, and answers once Redis has.

use std::{cell::RefCell, collections::HashMap, net::TcpListener, rc::Rc, sync::Arc, sync::atomic::Ordering::Relaxed};

use chrono::Utc;
use hyper::HeaderMap;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    net::TcpStream,
    sync::{Notify, oneshot},
    task::spawn_local,
};

use super::{
    super::wire::Wire,
    Common, QUEUE, frame,
    resp::{self, Resp},
    tally::Tally,
};

const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const REFUSED: &[u8] = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
const PUSH: [&[u8]; 2] = [b"RPUSH", QUEUE];
const PATH: &str = "/hooks/";

/// What it needs.
pub(super) struct Intake {
    pub common: Common,
    pub secret: SecretString,
    /// Tells the workers.
    pub pushed: Arc<Notify>,
}

/// What the connections share.
struct Door {
    key: hmac::Key,
    sources: Arc<HashMap<String, String>>,
    tally: Arc<Tally>,
    waiting: RefCell<Group>,
    /// A command for each raw event.
    alone: bool,
    came: Notify,
}

/// Raw events that are pushed together, as Redis wants them (or the commands, if each has one), and who waits to hear of it.
#[derive(Default)]
struct Group {
    spelt: Vec<u8>,
    senders: Vec<oneshot::Sender<()>>,
}

impl Intake {
    /// Takes in whatever comes.
    ///
    /// # Errors
    /// When Redis is gone.
    pub(super) async fn run(self, listener: TcpListener) -> anyhow::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let door = Rc::new(Door {
            key: hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose_secret().as_bytes()),
            sources: self.common.sources,
            tally: self.common.tally,
            waiting: RefCell::default(),
            alone: self.common.shape.push_alone,
            came: Notify::new(),
        });
        let redis = Resp::connect(&self.common.redis).await?;
        let accepting = {
            let door = door.clone();
            async move {
                loop {
                    let (stream, _) = listener.accept().await?;
                    spawn_local(door.clone().converse(stream));
                }
            }
        };
        tokio::select! {
            ended = door.push(redis, &self.pushed) => ended,
            ended = accepting => ended,
        }
    }
}

impl Door {
    /// One request after the other, to the end of the connection.
    async fn converse(self: Rc<Self>, stream: TcpStream) {
        let mut wire = Wire::new(stream);
        while let Ok(Some(request)) = wire.request("x-hub-").await {
            let source = request.path.strip_prefix(PATH).filter(|source| self.sources.contains_key(*source));
            let genuine = source.filter(|_| self.is_genuine(&request.headers, request.body));
            let pushed = match genuine.map(|source| self.join(source, request.body)) {
                Some(pushed) => pushed.await.is_ok(),
                None => false,
            };
            self.tally.refused.fetch_add(u64::from(!pushed), Relaxed);
            let answer = if pushed { ACCEPTED } else { REFUSED };
            if wire.write(answer).await.is_err() {
                return;
            }
        }
    }

    fn is_genuine(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let digits = headers.get("x-hub-signature-256").and_then(|value| value.as_bytes().strip_prefix(b"sha256="));
        let tag = digits.and_then(tag);
        tag.is_some_and(|tag| hmac::verify(&self.key, body, &tag).is_ok())
    }

    /// Puts a raw event to those that are pushed next.
    fn join(&self, source: &str, body: &[u8]) -> oneshot::Receiver<()> {
        let (pushed, wait) = oneshot::channel();
        let Group { spelt, senders } = &mut *self.waiting.borrow_mut();
        if self.alone {
            resp::begin_command(spelt, PUSH.len() + 1);
            PUSH.iter().for_each(|part| resp::string(spelt, part));
        }
        resp::begin_string(spelt, frame::len(source, body));
        frame::write(spelt, Utc::now().timestamp_micros(), source, body);
        resp::end_string(spelt);
        senders.push(pushed);
        self.came.notify_one();
        wait
    }

    async fn push(&self, mut redis: Resp, pushed: &Notify) -> anyhow::Result<()> {
        loop {
            self.came.notified().await;
            let Group { spelt, senders } = self.waiting.take();
            if senders.is_empty() {
                continue;
            }
            let group = if self.alone { 1 } else { senders.len() };
            if self.alone {
                redis.commands(&spelt);
            } else {
                redis.command_with(&PUSH, senders.len(), &spelt);
            }
            redis.flush().await?;
            let mut senders = senders.into_iter().peekable();
            while senders.peek().is_some() {
                redis.reply().await?;
                pushed.notify_one();
                self.tally.pushed.add(group);
                for sender in senders.by_ref().take(group) {
                    // Whoever hung up meanwhile does not hear that it was taken.
                    let _ = sender.send(());
                }
            }
        }
    }
}

fn tag(digits: &[u8]) -> Option<[u8; 32]> {
    let mut tag = [0; 32];
    if digits.len() != 2 * tag.len() {
        return None;
    }
    for (byte, pair) in tag.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |index: usize| char::from(pair[index]).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(tag)
}
