//! Group commit: the task that pushes, in one go, whatever waits at that moment.
//!
//! No timer: while nothing is in flight a raw event goes out at once, alone. While pushes are in flight others gather, and
//! the next push takes them all, up to a size. So groups form exactly when they save something.
//!
//! What comes under a key of its sender's choice is enqueued or not, by what the queue remembers of the key, so it is a push
//! of its own. It goes out together with the others of its round, and shares their way to Redis and to its disk.

use std::sync::Arc;

use fail::fail_point;
use queue::Inbound;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use vocabulary::{Job, JobEntry, Once, RawEvent, Stamp};

use crate::{EnqueueError, ProducerSettings, PushCounters};

const BYTES_PER_JOB: usize = 1 << 20;
/// A push is one script run, during which Redis does nothing else.
const BYTES_PER_PUSH: usize = 8 << 20;
/// What a raw event takes in memory beside its bytes, roughly; without it empty bodies would be free.
const OVERHEAD_BYTES: usize = 256;

/// What one caller has handed in.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) raw_events: Vec<RawEvent>,
    pub(crate) bytes: usize,
    /// Enqueue it unless it was enqueued under this before.
    pub(crate) once: Option<Once>,
    pub(crate) answer: oneshot::Sender<Result<Vec<Stamp>, EnqueueError>>,
    /// Held until the caller has its answer, even if it has stopped listening: what is in flight takes memory too.
    pub(crate) _room: OwnedSemaphorePermit,
}

/// Takes what waits, groups it, and pushes it.
pub(crate) struct Pusher {
    inbound: Arc<Inbound>,
    waiting: mpsc::UnboundedReceiver<Waiting>,
    /// Taken, but too large for the round before it.
    left_over: Option<Waiting>,
    settings: ProducerSettings,
    counters: Arc<PushCounters>,
}

impl Pusher {
    pub(crate) fn new(
        inbound: Inbound,
        waiting: mpsc::UnboundedReceiver<Waiting>,
        settings: ProducerSettings,
        counters: Arc<PushCounters>,
    ) -> Self {
        Self { inbound: Arc::new(inbound), waiting, left_over: None, settings, counters }
    }

    /// Pushes until `stop`, or until the last producer is gone; then what still waits.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut in_flight = JoinSet::new();
        while let Some(first) = self.next(&stop).await {
            // First a free slot, then the rest of the group: what arrives while we wait for the slot comes along.
            while in_flight.len() >= self.settings.pushes_in_flight.max(1) {
                in_flight.join_next().await;
            }
            for push in self.take_what_is_there(first).pushes() {
                in_flight.spawn(self.push(push));
            }
        }
        while in_flight.join_next().await.is_some() {}
    }

    async fn next(&mut self, stop: &CancellationToken) -> Option<Waiting> {
        if let Some(left_over) = self.left_over.take() {
            return Some(left_over);
        }
        tokio::select! {
            biased;
            waiting = self.waiting.recv() => waiting,
            () = stop.cancelled() => {
                self.waiting.close();
                self.waiting.recv().await
            }
        }
    }

    fn take_what_is_there(&mut self, first: Waiting) -> Round {
        let mut round = Round::with_room_for(self.waiting.len().min(self.settings.raw_events_per_push));
        round.add(first);
        while round.raw_events < self.settings.raw_events_per_push
            && let Ok(next) = self.waiting.try_recv()
        {
            // Its caller has given up, and counts on nothing: during an outage this is what empties the backlog.
            if next.answer.is_closed() {
                continue;
            }
            if !round.has_room_for(&next, self.settings.raw_events_per_push) {
                self.left_over = Some(next);
                break;
            }
            round.add(next);
        }
        round
    }

    fn push(&self, push: Push) -> impl Future<Output = ()> + use<> {
        let (inbound, counters) = (self.inbound.clone(), self.counters.clone());
        let ProducerSettings { deadline, raw_events_per_job, .. } = self.settings;
        async move {
            let Push { raw_events, bytes, once, callers } = push;
            let pushed = raw_events.len();
            let jobs = group(raw_events, raw_events_per_job);
            fail_point!("producer-before-enqueue");
            let enqueuing = async {
                match &once {
                    None => inbound.enqueue(&jobs).await,
                    Some(once) => inbound.enqueue_once(&jobs, once).await,
                }
            };
            let outcome = match timeout(deadline, enqueuing).await {
                Ok(Ok(stamps)) => Ok(stamps),
                Ok(Err(queue::EnqueueError::KeyReused)) => Err(EnqueueError::KeyReused),
                Ok(Err(error)) => Err(EnqueueError::Queue(Arc::new(error))),
                Err(_) => Err(EnqueueError::Unconfirmed),
            };
            fail_point!("producer-after-enqueue");
            match &outcome {
                Ok(_) => counters.accepted(pushed, bytes),
                // Redis was there, and is not to blame.
                Err(EnqueueError::KeyReused) => {}
                Err(_) => counters.pushes_failed.add(1),
            }
            answer(callers, outcome);
        }
    }
}

/// What goes to Redis at one moment.
#[derive(Debug, Default)]
struct Round {
    raw_events: usize,
    bytes: usize,
    shared: Push,
    under_keys: Vec<Push>,
}

impl Round {
    /// One that will hold about so many raw events; more if it must.
    fn with_room_for(raw_events: usize) -> Self {
        let mut round = Self::default();
        round.shared.raw_events.reserve(raw_events);
        round.shared.callers.reserve(raw_events);
        round
    }

    fn has_room_for(&self, next: &Waiting, raw_events: usize) -> bool {
        self.bytes + next.bytes <= BYTES_PER_PUSH && self.raw_events + next.raw_events.len() <= raw_events
    }

    fn add(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes;
        self.raw_events += waiting.raw_events.len();
        if waiting.once.is_some() {
            let mut push = Push::default();
            push.add(waiting);
            self.under_keys.push(push);
        } else {
            self.shared.add(waiting);
        }
    }

    fn pushes(self) -> impl Iterator<Item = Push> {
        std::iter::once(self.shared).filter(|shared| !shared.callers.is_empty()).chain(self.under_keys)
    }
}

/// What goes to Redis in one script run, and who waits for it.
#[derive(Debug, Default)]
struct Push {
    raw_events: Vec<RawEvent>,
    bytes: usize,
    once: Option<Once>,
    callers: Vec<Caller>,
}

#[derive(Debug)]
struct Caller {
    raw_events: usize,
    answer: oneshot::Sender<Result<Vec<Stamp>, EnqueueError>>,
    _room: OwnedSemaphorePermit,
}

impl Push {
    fn add(&mut self, waiting: Waiting) {
        let Waiting { raw_events, bytes, once, answer, _room } = waiting;
        self.once = once;
        self.callers.push(Caller { raw_events: raw_events.len(), answer, _room });
        self.raw_events.extend(raw_events);
        self.bytes += bytes;
    }
}

/// Gives each caller the stamps of its own raw events, or everybody the error. Who has stopped listening is passed over.
fn answer(callers: Vec<Caller>, outcome: Result<Vec<Stamp>, EnqueueError>) {
    match outcome {
        Ok(stamps) => {
            let mut stamps = stamps.into_iter();
            for caller in callers {
                let own = stamps.by_ref().take(caller.raw_events).collect();
                let _ = caller.answer.send(Ok(own));
            }
        }
        Err(error) => {
            for caller in callers {
                let _ = caller.answer.send(Err(error.clone()));
            }
        }
    }
}

/// What a raw event counts for, in bytes.
pub(crate) fn weight(raw_event: &RawEvent) -> usize {
    let headers: usize = raw_event.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    OVERHEAD_BYTES + headers + raw_event.body.len()
}

/// Groups raw events into jobs, in their order. One that is larger than a job may be travels alone.
fn group(raw_events: Vec<RawEvent>, per_job: usize) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    let mut bytes = 0;
    let mut raw_events = raw_events.into_iter();
    while let Some(raw_event) = raw_events.next() {
        let added = weight(&raw_event);
        match jobs.last_mut() {
            Some(job) if job.entries.len() < per_job && bytes + added <= BYTES_PER_JOB => {
                job.entries.push(JobEntry { raw_event, replay: None });
                bytes += added;
            }
            _ => {
                let mut entries = Vec::with_capacity(per_job.min(1 + raw_events.len()));
                entries.push(JobEntry { raw_event, replay: None });
                jobs.push(Job { entries });
                bytes = added;
            }
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_n;

    use bytes::Bytes;
    use chrono::DateTime;

    use super::*;

    fn of_size(bytes: usize) -> RawEvent {
        RawEvent {
            source_id: "wa".parse().unwrap(),
            received_at: DateTime::UNIX_EPOCH,
            headers: Vec::new(),
            body: Bytes::from(vec![b'x'; bytes]),
        }
    }

    fn sizes(jobs: &[Job]) -> Vec<usize> {
        jobs.iter().map(|job| job.entries.len()).collect()
    }

    #[test]
    fn small_raw_events_fill_a_job_by_their_number() {
        let jobs = group(repeat_n(of_size(10), 130).collect(), 64);

        assert_eq!(sizes(&jobs), [64, 64, 2]);
    }

    #[test]
    fn large_raw_events_fill_a_job_by_their_bytes_and_the_largest_travel_alone() {
        let raw_events = [400_000, 400_000, 400_000, 3 << 20, 10, 10].map(of_size).to_vec();

        let jobs = group(raw_events.clone(), 64);

        assert_eq!(sizes(&jobs), [2, 1, 1, 2]);
        let kept: Vec<_> = jobs.into_iter().flat_map(|job| job.entries).map(|entry| entry.raw_event).collect();
        assert_eq!(kept, raw_events);
    }
}
