//! The library: what an app calls to hand a raw event to the queue.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use queue::{Inbound, Redis};
use tokio::{
    sync::{Semaphore, TryAcquireError, mpsc, oneshot},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vocabulary::{Once, RawEvent, Stamp, Unkeepable};

use crate::{
    PushCounters,
    push::{Pusher, Waiting, weight},
};

/// What may wait for Redis in a process, in bytes, unless it is told otherwise.
const BACKLOG_BYTES: u32 = 64 << 20;

/// The bytes that a source may ask the doors to take in one body. At least what any provider's smallest webhook has; at most
/// half of what may wait for Redis in a process, because a larger body would seldom find room beside others.
pub const BODY_LIMITS: RangeInclusive<u32> = 1024..=BACKLOG_BYTES / 2;

/// Hands raw events to the queue. Cheap to clone; all clones share their pushes.
#[derive(Debug, Clone)]
pub struct Producer {
    waiting: mpsc::UnboundedSender<Waiting>,
    room: Arc<Semaphore>,
    settings: ProducerSettings,
    counters: Arc<PushCounters>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What a producer may hold, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerSettings {
    /// The most bytes that wait for Redis at one time, those in flight included. Above it callers get
    /// [`EnqueueError::Busy`] at once. At most 4 GiB.
    pub backlog_bytes: u32,
    /// The most raw events of different callers that share a push.
    pub raw_events_per_push: usize,
    /// The most raw events that travel in one job: what a worker takes, and what comes again together. Large enough to be
    /// cheap, small enough to be spread.
    pub raw_events_per_job: usize,
    /// How many pushes are on their way at one time. With one, whatever comes meanwhile shares the next: fewer and larger
    /// pushes, which is what Redis and its disk are spared by.
    pub pushes_in_flight: usize,
    /// How long a caller waits for Redis before the outcome counts as unknown, which is an error.
    pub deadline: Duration,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            backlog_bytes: BACKLOG_BYTES,
            raw_events_per_push: 2048,
            raw_events_per_job: 64,
            pushes_in_flight: 1,
            deadline: Duration::from_secs(5),
        }
    }
}

/// Why a raw event counts as not enqueued. Hand it in again: if it was enqueued after all, the duplicate is found later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EnqueueError {
    /// More waits for Redis already than the settings allow.
    #[error("too many bytes wait for Redis already; try again in a few seconds")]
    Busy,
    /// It would not fit even if nothing waited.
    #[error("{bytes} bytes at once are more than the {max} that may wait for Redis; hand in fewer at a time")]
    TooLarge {
        /// What was handed in.
        bytes: usize,
        /// What the settings allow.
        max: u32,
    },
    /// Redis has not answered in time, or the push ended without an answer: the outcome is unknown.
    #[error("Redis has not confirmed it in time; try again, a duplicate is harmless")]
    Unconfirmed,
    /// The queue refused it, or could not be reached.
    #[error("the queue has not taken it; try again in a few seconds")]
    Queue(#[source] Arc<queue::EnqueueError>),
    /// Another request was sent under the same key: not taken, and no use in trying again.
    #[error("the key was used for another request: take a new one for each request")]
    KeyReused,
    /// Nobody could keep it, so nothing of the call is taken, and it is no use to try again.
    #[error("raw event {} of {of} cannot be kept: change it, or hand in the others without it", place + 1)]
    Unkeepable {
        /// Which of those that were handed in, from 0.
        place: usize,
        /// How many were handed in.
        of: usize,
        /// What of it cannot be kept.
        #[source]
        what: Unkeepable,
    },
    /// [`Producer::close`] was called.
    #[error("the producer is closed; hand it to another one")]
    Closed,
}

impl Producer {
    /// A producer for the queue in `redis`. It has a task of its own on the Tokio runtime that this is called in, which
    /// ends with the last clone, or with [`Producer::close`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn new(redis: &Redis, settings: ProducerSettings) -> Self {
        let (sender, waiting) = mpsc::unbounded_channel();
        let counters = Arc::new(PushCounters::default());
        let stop = CancellationToken::new();
        let pusher = Pusher::new(Inbound::new(redis), waiting, settings, counters.clone());
        let tasks = TaskTracker::new();
        tasks.spawn(pusher.run(stop.clone()));
        tasks.close();
        let room = Arc::new(Semaphore::new(settings.backlog_bytes as usize));
        Self { waiting: sender, room, settings, counters, stop, tasks }
    }

    /// Enqueues one raw event. `Ok` only once Redis has it.
    ///
    /// A caller that drops this future gives its raw event up: it may be enqueued or not. Others are not affected.
    ///
    /// # Errors
    /// Whenever it is not certain that Redis has it.
    pub async fn enqueue(&self, raw_event: &RawEvent) -> Result<Stamp, EnqueueError> {
        let stamps = self.enqueue_batch(std::slice::from_ref(raw_event)).await?;
        stamps.into_iter().next().ok_or(EnqueueError::Unconfirmed)
    }

    /// Enqueues several raw events in one push: all of them or, on an error, perhaps none. The stamps are in their order.
    ///
    /// # Errors
    /// Whenever it is not certain that Redis has all of them. One that Postgres could not keep ([`RawEvent::check`]) is named,
    /// and then Redis has none.
    pub async fn enqueue_batch(&self, raw_events: &[RawEvent]) -> Result<Vec<Stamp>, EnqueueError> {
        self.hand_in(raw_events, None).await
    }

    /// As [`Producer::enqueue_batch`], unless the same request was enqueued before under the same key: then nothing is
    /// enqueued, and these are the stamps of that time. So a request whose outcome is unknown can be handed in again without
    /// becoming two. A key is known for 24 hours, or until its source has used 200,000 others.
    ///
    /// # Errors
    /// As [`Producer::enqueue_batch`], and when another request was enqueued under the key.
    pub async fn enqueue_once(&self, raw_events: &[RawEvent], once: Once) -> Result<Vec<Stamp>, EnqueueError> {
        self.hand_in(raw_events, Some(once)).await
    }

    /// Either of them. What is lent is copied once there is room for it, and what is given is not.
    pub(crate) async fn hand_in(
        &self,
        raw_events: impl AsRef<[RawEvent]> + Into<Vec<RawEvent>>,
        once: Option<Once>,
    ) -> Result<Vec<Stamp>, EnqueueError> {
        if raw_events.as_ref().is_empty() {
            return Ok(Vec::new());
        }
        let (answer, answered) = oneshot::channel();
        let waiting = self.admit(raw_events, once, answer)?;
        self.waiting.send(waiting).map_err(|_| EnqueueError::Closed)?;
        match timeout(self.settings.deadline, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(EnqueueError::Unconfirmed),
        }
    }

    /// What is admitted shares jobs with others, so what a worker could not take out again must not come in.
    fn admit(
        &self,
        raw_events: impl AsRef<[RawEvent]> + Into<Vec<RawEvent>>,
        once: Option<Once>,
        answer: oneshot::Sender<Result<Vec<Stamp>, EnqueueError>>,
    ) -> Result<Waiting, EnqueueError> {
        let looked_at = raw_events.as_ref();
        for (place, raw_event) in looked_at.iter().enumerate() {
            let of = looked_at.len();
            raw_event.check().map_err(|what| EnqueueError::Unkeepable { place, of, what })?;
        }
        let bytes = looked_at.iter().map(weight).sum();
        let max = self.settings.backlog_bytes;
        let permits = u32::try_from(bytes).ok().filter(|permits| *permits <= max);
        let permits = permits.ok_or(EnqueueError::TooLarge { bytes, max })?;
        let room = self.room.clone().try_acquire_many_owned(permits).map_err(|error| match error {
            TryAcquireError::NoPermits => EnqueueError::Busy,
            TryAcquireError::Closed => EnqueueError::Closed,
        })?;
        Ok(Waiting { raw_events: raw_events.into(), bytes, once, answer, _room: room })
    }

    /// Takes nothing more, and returns once everybody who waits has an answer.
    pub async fn close(&self) {
        self.room.close();
        self.stop.cancel();
        self.tasks.wait().await;
    }

    /// What was pushed so far.
    pub fn counters(&self) -> &PushCounters {
        &self.counters
    }
}
