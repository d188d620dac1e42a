//! The customers: one real HTTP/1.1 server with a path for each endpoint, and a mood for each path.
//!
//! The cast: [`Customers`] listen; a [`Mood`] says how an endpoint answers; a [`Heard`] is a request that came whole,
//! written down before anybody misbehaves. The head of a request is parsed by httparse and everything else is done on the
//! socket, because a server library would not break off in the middle of an answer ([`connection`]).

mod connection;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use chrono::Utc;
use dispatcher::signing::{SigningSecret, verify};
use http::HeaderMap;
use ring::digest::{SHA256, digest};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

use crate::lock::lock;

/// A dispatcher that comes back from an outage opens all its connections at once.
const BACKLOG: u32 = 1024;

/// How an endpoint answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mood {
    /// 200.
    Content,
    /// This status, and a header with it where one says so: 429 with `retry-after`, 302 with `location`.
    Answers(u16, Option<(&'static str, String)>),
    /// Never answers; keeps the connection.
    Hangs,
    /// 200, and then a byte of the body every 200 ms, without end.
    Drips,
    /// 200, after that long.
    AnswersLate(Duration),
    /// Reads the request whole and resets the connection.
    BreaksOff,
    /// Resets the connection in the middle of a 200.
    BreaksOffHalfway,
    /// One after the other, a request each, and again from the first. None of them is mixed itself: those count as content.
    Mixed(Vec<Self>),
}

/// Whether a customer has said yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// A 2xx was written to its last byte; whether it arrived, only the other side knows.
    Ok,
    /// Anything else, so far.
    Otherwise,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// By its path.
    pub(crate) endpoint: Arc<str>,
    /// Empty if it had none.
    pub(crate) webhook_id: Box<str>,
    /// SHA-256.
    pub(crate) body_hash: [u8; 32],
    /// `data.key` of the body.
    pub(crate) key: Option<Box<str>>,
    /// `data.source_id` of the body.
    pub(crate) source: Option<Arc<str>>,
    /// `type` of the body; empty if it had none.
    pub(crate) event_type: Arc<str>,
    /// When its last byte had come.
    pub(crate) at: Instant,
    /// Whether the endpoint's secret signed it within the last five minutes.
    pub(crate) verified: bool,
    /// What it was answered.
    pub(crate) answered: Answered,
}

/// A server that listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Customers {
    address: SocketAddr,
    shared: Arc<Shared>,
    _listener: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    endpoints: HashMap<Arc<str>, Endpoint>,
    notes: Mutex<Notes>,
}

struct Endpoint {
    secret: SigningSecret,
    /// And how many requests it has answered in that mood.
    mood: Mutex<(Mood, usize)>,
}

/// Everything that was heard, in order. There are hundreds of thousands, so texts that repeat are kept once.
#[derive(Debug, Default)]
struct Notes {
    heard: Vec<Heard>,
    words: HashMap<Box<str>, Arc<str>>,
}

/// What a customer reads in a body.
#[derive(Deserialize, Default)]
struct Told {
    #[serde(rename = "type", default)]
    event_type: String,
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize, Default)]
struct Data {
    key: Option<String>,
    source_id: Option<String>,
}

impl Customers {
    /// Listens on a free port of 127.0.0.1 for these endpoints, each with its signing secret. All are content.
    ///
    /// # Errors
    /// When there is no free port, or a secret is none.
    pub(crate) async fn listen(endpoints: Vec<(String, SecretString)>) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let endpoints = endpoints.into_iter().map(|(id, secret)| {
            let secret = SigningSecret::parse(&secret).with_context(|| format!("the secret of endpoint {id}"))?;
            Ok((Arc::from(id), Endpoint { secret, mood: Mutex::new((Mood::Content, 0)) }))
        });
        let endpoints = endpoints.collect::<anyhow::Result<_>>()?;
        let shared = Arc::new(Shared { endpoints, notes: Mutex::default() });
        let listener = tokio::spawn(listen(listener, shared.clone()));
        Ok(Self { address, shared, _listener: AbortOnDropHandle::new(listener) })
    }

    /// Where the endpoint's deliveries are to be sent.
    pub(crate) fn url(&self, endpoint: &str) -> String {
        format!("http://{}/{endpoint}", self.address)
    }

    /// Changes the mood, for requests that have not come whole yet.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub(crate) fn set_mood(&self, endpoint: &str, mood: Mood) -> anyhow::Result<()> {
        let endpoint =
            self.shared.endpoints.get(endpoint).with_context(|| format!("there is no endpoint {endpoint}"))?;
        *lock(&endpoint.mood) = (mood, 0);
        Ok(())
    }

    /// Everything heard so far, in the order in which it came.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        lock(&self.shared.notes).heard.clone()
    }

    /// How many requests have come so far.
    pub(crate) fn count(&self) -> usize {
        lock(&self.shared.notes).heard.len()
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => { connections.spawn(connection::serve(stream, shared.clone())); }
            Some(_) = connections.join_next() => {}
            // No connection to accept for want of file descriptors: there will be some when others have ended.
            else => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

impl Shared {
    /// Writes a request down; gives its place and how it is to be answered. `None` if there is no such endpoint.
    fn hear(&self, endpoint: &str, headers: &HeaderMap, body: &Bytes) -> Option<(usize, Mood)> {
        let at = Instant::now();
        let (name, endpoint) = self.endpoints.get_key_value(endpoint)?;
        let told: Told = serde_json::from_slice(body).unwrap_or_default();
        let mut body_hash = [0; 32];
        body_hash.copy_from_slice(digest(&SHA256, body).as_ref());
        let webhook_id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        let verified = verify(&endpoint.secret, headers, body, Utc::now()).is_ok();
        let mut notes = lock(&self.notes);
        let heard = Heard {
            endpoint: name.clone(),
            webhook_id: webhook_id.into(),
            body_hash,
            key: told.data.key.map(Into::into),
            source: told.data.source_id.map(|source| notes.word(&source)),
            event_type: notes.word(&told.event_type),
            at,
            verified,
            answered: Answered::Otherwise,
        };
        notes.heard.push(heard);
        Some((notes.heard.len() - 1, endpoint.next_mood()))
    }

    fn said_yes(&self, place: usize) {
        lock(&self.notes).heard[place].answered = Answered::Ok;
    }
}

impl Endpoint {
    fn next_mood(&self) -> Mood {
        let mut mood = lock(&self.mood);
        let turn = mood.1;
        mood.1 += 1;
        match &mood.0 {
            Mood::Mixed(moods) => {
                moods.get(turn.checked_rem(moods.len()).unwrap_or(0)).cloned().unwrap_or(Mood::Content)
            }
            mood => mood.clone(),
        }
    }
}

impl std::fmt::Debug for Endpoint {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("mood", &self.mood).finish_non_exhaustive()
    }
}

impl Notes {
    fn word(&mut self, text: &str) -> Arc<str> {
        if let Some(word) = self.words.get(text) {
            return word.clone();
        }
        let word: Arc<str> = text.into();
        self.words.insert(text.into(), word.clone());
        word
    }
}
