//! The sender: posts the stream as Meta would, over many connections, and again until it is told 200.
//!
//! The cast: [`Targets`] are the producers that run at the moment; a [`Sender`] paces the stream and has a task for each
//! connection that sends a request; the [`Sent`] is what it knows in the end. A request of which it was told 200 even once
//! is the fleet's to keep. One that it could not get accepted may be in the fleet all the same.

mod post;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use tokio::{
    sync::{Barrier, OwnedSemaphorePermit, Semaphore},
    time::{MissedTickBehavior, timeout_at},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::{AbortOnDropHandle, TaskTracker},
};

use self::post::{Client, client};
use crate::{
    lock::lock,
    stream::{Request, Stream},
};

/// Connections that wait for an answer, or to ask again. When there are so many, nothing new is begun.
const OUTSTANDING: u32 = 256;
/// Breaches that are kept; the first ones tell as much as all of them.
const KEPT_BREACHES: usize = 100;

/// Where the producers listen: shared by clones, and changed while requests are sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Targets {
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    turn: Arc<AtomicUsize>,
}

impl Targets {
    /// From the next try on, these. While there are none, requests wait.
    pub(crate) fn set(&self, addresses: Vec<SocketAddr>) {
        *lock(&self.addresses) = addresses;
    }

    /// One after the other.
    fn next(&self) -> Option<SocketAddr> {
        let addresses = lock(&self.addresses);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        addresses.get(turn.checked_rem(addresses.len())?).copied()
    }
}

/// Sends until it is stopped. Dropping it abandons everything.
pub(crate) struct Sender {
    shared: Arc<Shared>,
    begins: AbortOnDropHandle<()>,
    _abandons: DropGuard,
}

struct Shared {
    client: Client,
    targets: Targets,
    record: Mutex<Sent>,
    /// Nothing new.
    stopped: CancellationToken,
    /// Nothing more.
    abandoned: CancellationToken,
    connections: TaskTracker,
}

/// What was sent and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// All that were begun, in order; without their bodies, which [`Stream::request`] makes again.
    pub(crate) requests: Vec<Request>,
    /// When each request was told 200, once for each connection that was.
    pub(crate) accepted: HashMap<u64, Vec<Instant>>,
    /// How often each answer came: a status, or `no connection`, `broken off`, `no answer`.
    pub(crate) answers: BTreeMap<String, u64>,
    /// Requests that were begun and of which no connection was told 200.
    pub(crate) unaccepted: Vec<u64>,
    /// Answers that no genuine request may get, whatever fails.
    pub(crate) wrong: Vec<String>,
    /// How many tries the most refused connection needed.
    pub(crate) most_tries: u32,
}

impl Sender {
    /// Begins `rate` requests a second, from now on.
    pub(crate) fn start(stream: Stream, targets: Targets, rate: u32) -> Self {
        let abandoned = CancellationToken::new();
        let shared = Arc::new(Shared {
            client: client(),
            targets,
            record: Mutex::default(),
            stopped: abandoned.child_token(),
            abandoned: abandoned.clone(),
            connections: TaskTracker::new(),
        });
        let begins = AbortOnDropHandle::new(tokio::spawn(begin_all(shared.clone(), stream, rate)));
        Self { shared, begins, _abandons: abandoned.drop_guard() }
    }

    /// Begins nothing more; what is outstanding goes on.
    pub(crate) fn stop_sending(&self) {
        self.shared.stopped.cancel();
    }

    /// How many requests were begun, and of how many a connection was told 200, so far.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let record = lock(&self.shared.record);
        (record.requests.len(), record.accepted.len())
    }

    /// Stops, waits until everything outstanding is accepted, at most until `deadline`, and gives what is known then.
    ///
    /// # Errors
    /// When the task that begins requests has panicked.
    pub(crate) async fn finished(self, deadline: Instant) -> anyhow::Result<Sent> {
        self.stop_sending();
        self.begins.await.context("the sender broke")?;
        self.shared.connections.close();
        // What is not accepted by then is named in the result.
        let _ = timeout_at(deadline.into(), self.shared.connections.wait()).await;
        self.shared.abandoned.cancel();
        let mut sent = std::mem::take(&mut *lock(&self.shared.record));
        let numbers = sent.requests.iter().map(|request| request.number);
        sent.unaccepted = numbers.filter(|number| !sent.accepted.contains_key(number)).collect();
        Ok(sent)
    }
}

async fn begin_all(shared: Arc<Shared>, stream: Stream, rate: u32) {
    let room = Arc::new(Semaphore::new(OUTSTANDING as usize));
    let mut pace = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    // Timers are too coarse for a thousand ticks a second, so late ones are made up for.
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begin = async {
        for request in stream {
            pace.tick().await;
            // Not for the time of an outage, though: what was not begun then is not begun all at once after it.
            if room.available_permits() < request.at_once {
                let _ = room.acquire_many(permits(&request)).await;
                pace.reset();
            }
            let Ok(room) = room.clone().acquire_many_owned(permits(&request)).await else { return };
            begin(&shared, request, room);
        }
    };
    shared.stopped.run_until_cancelled(begin).await;
}

fn permits(request: &Request) -> u32 {
    u32::try_from(request.at_once).unwrap_or(OUTSTANDING).min(OUTSTANDING)
}

/// Sends the request over as many connections as it wants, all at the same instant.
fn begin(shared: &Arc<Shared>, request: Request, room: OwnedSemaphorePermit) {
    lock(&shared.record).requests.push(Request { body: Bytes::new(), ..request.clone() });
    let (together, room) = (Arc::new(Barrier::new(request.at_once)), Arc::new(room));
    let request = Arc::new(request);
    for _ in 0..request.at_once {
        let (shared, request, together, room) = (shared.clone(), request.clone(), together.clone(), room.clone());
        shared.clone().connections.spawn(async move {
            let until_accepted = async {
                together.wait().await;
                shared.post_until_accepted(&request).await;
            };
            shared.abandoned.run_until_cancelled(until_accepted).await;
            drop(room);
        });
    }
}

impl Sent {
    fn count(&mut self, answer: String) {
        *self.answers.entry(answer).or_default() += 1;
    }

    fn accept(&mut self, number: u64, tries: u32) {
        self.accepted.entry(number).or_default().push(Instant::now());
        self.most_tries = self.most_tries.max(tries);
    }

    fn breach(&mut self, what: String) {
        if self.wrong.len() < KEPT_BREACHES {
            self.wrong.push(what);
        }
    }
}
