//! The loop: a step, `dispatch_due`, plus a pause.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use database::{
    Database, DatabaseError, QueryError,
    due::{self, LeaseRequest, Leased},
};
use fail::fail_point;
use tokio::{
    sync::{
        Notify,
        mpsc::{UnboundedSender, unbounded_channel},
    },
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use vocabulary::MasterKey;

use crate::{
    attempt::Attempter,
    back_off::BackOff,
    client::Client,
    counters::Counters,
    in_flight::{InFlight, Permit, Rooms},
    outcome::Schedule,
    recorder::{Ended, Recorder},
};

/// How a dispatcher works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Deliveries that this process sends at the same time. More than 64 on two cores makes it slower.
    pub in_flight: usize,
    /// Of these, to one endpoint.
    pub per_endpoint: usize,
    /// What one attempt may take, from the name's resolution to the last byte of the answer.
    pub deadline: Duration,
    /// How much longer than the deadline a lease is: the time to record the result before somebody else sends again.
    pub slack: Duration,
    /// The longest pause between two looks into `due`, when nobody wakes the loop.
    pub poll: Duration,
    /// When failed deliveries are tried again.
    pub schedule: Schedule,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            in_flight: 64,
            per_endpoint: 16,
            deadline: Duration::from_secs(15),
            slack: Duration::from_secs(15),
            poll: Duration::from_secs(1),
            schedule: Schedule::default(),
        }
    }
}

/// Leases deliveries, sends them, has the results recorded.
pub struct Dispatcher {
    database: Database,
    attempter: Attempter,
    lease: Duration,
    poll: Duration,
    in_flight: Arc<InFlight>,
    ended: UnboundedSender<Ended>,
    counters: Arc<Counters>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dispatched {
    /// Deliveries that it leased, and began to send.
    pub leased: usize,
}

/// Why a step leased nothing.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// No connection.
    #[error("deliveries cannot be leased without a connection")]
    Connect(#[from] DatabaseError),
    /// The statement failed.
    #[error("deliveries cannot be leased")]
    Query(#[from] QueryError),
}

/// A delivery and the right to send it, until `ends`.
struct Taken {
    leased: Leased,
    permit: Permit,
    ends: Instant,
}

/// What the loop waits for after a step, beside a word from outside.
struct Pause {
    at_most: Duration,
    /// A permit that is given back ends it: the step saw too little room to tell whether more is due.
    for_room: bool,
}

impl Pause {
    /// There may be more to lease.
    const NONE: Self = Self { at_most: Duration::ZERO, for_room: false };
}

impl Dispatcher {
    /// A dispatcher with its recorder, which runs as a task of the current tokio runtime until the dispatcher is gone and
    /// everything that it sent is recorded.
    pub fn new(database: Database, master: Arc<MasterKey>, settings: Settings, client: Client) -> Self {
        let (ended, results) = unbounded_channel();
        let counters = Arc::new(Counters::default());
        let recorder = Recorder { database: database.clone(), counters: counters.clone(), ended: results };
        tokio::spawn(recorder.run());
        let (deadline, schedule) = (settings.deadline, Arc::new(settings.schedule));
        Self {
            database,
            attempter: Attempter { master, client, deadline, schedule },
            lease: deadline + settings.slack,
            poll: settings.poll,
            in_flight: InFlight::new(settings.in_flight, settings.per_endpoint),
            ended,
            counters,
        }
    }

    /// What it has done so far.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// The step: leases what is due and can be started now, and starts it. Does not wait for any of it.
    ///
    /// Takes `&mut self` because two steps at once could take the same room.
    ///
    /// # Errors
    /// When Postgres cannot be asked. Nothing is lost by it.
    pub async fn dispatch_due(&mut self) -> Result<Dispatched, DispatchError> {
        let taken = self.lease_due(&self.in_flight.rooms()).await?;
        let leased = taken.len();
        self.start(taken);
        Ok(Dispatched { leased })
    }

    /// Waits until everything that was started has ended and is recorded.
    pub async fn settled(&self) {
        self.in_flight.ended().await;
    }

    /// Dispatches until `stop`, then finishes what is in flight. `wake` is notified by whoever has committed deliveries.
    ///
    /// Postgres being away pauses it. Once stopped, it waits for results to be recorded no longer than a lease: after that
    /// somebody else sends again anyway.
    pub async fn run(mut self, wake: Arc<Notify>, stop: CancellationToken) {
        let mut back_off = BackOff::default();
        let mut given_back = self.in_flight.given_back();
        while !stop.is_cancelled() {
            given_back.look();
            let pause = match self.step(&stop).await {
                Ok(pause) => {
                    back_off.reset();
                    pause
                }
                Err(away) => {
                    error!(error = &away as &dyn std::error::Error, "Postgres is away; dispatching pauses");
                    Pause { at_most: back_off.next(), for_room: false }
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause.at_most) => {}
                () = wake.notified() => {}
                () = given_back.wait(), if pause.for_room => {}
            }
        }
        if timeout(self.lease, self.settled()).await.is_err() {
            error!("stopped before every result was recorded; these deliveries will be sent again");
        }
    }

    async fn step(&mut self, stop: &CancellationToken) -> Result<Pause, DispatchError> {
        let rooms = self.in_flight.rooms();
        let taken = self.lease_due(&rooms).await?;
        if stop.is_cancelled() {
            self.release(taken).await?;
            return Ok(Pause::NONE);
        }
        if !taken.is_empty() {
            self.start(taken);
            return Ok(Pause::NONE);
        }
        let connection = self.database.connection().await?;
        let next = due::next_due(&connection).await?.unwrap_or(self.poll);
        Ok(Pause { at_most: next.min(self.poll), for_room: rooms.are_scarce() })
    }

    /// Takes what there is room for. The lease is counted from before it was asked for, so that it ends here no later than
    /// in Postgres.
    async fn lease_due(&mut self, rooms: &Rooms) -> Result<Vec<Taken>, DispatchError> {
        if rooms.all.all == 0 {
            return Ok(Vec::new());
        }
        let connection = self.database.connection().await?;
        let ends = Instant::now() + self.lease;
        let request =
            LeaseRequest { room: rooms.all, per_endpoint: rooms.per_endpoint, busy: &rooms.busy, lease: self.lease };
        let leased = due::lease(&connection, &request).await?;
        self.counters.leased.add(leased.len());
        if !leased.is_empty() {
            fail_point!("dispatcher-after-lease");
        }
        let take = |leased: Leased| {
            let permit = self.in_flight.take(&leased.endpoint_id, leased.attempts > 0);
            Taken { leased, permit, ends }
        };
        Ok(leased.into_iter().map(take).collect())
    }

    fn start(&self, taken: Vec<Taken>) {
        for taken in taken {
            let (attempter, ended, counters) = (self.attempter.clone(), self.ended.clone(), self.counters.clone());
            tokio::spawn(send(attempter, ended, counters, taken));
        }
    }

    async fn release(&self, taken: Vec<Taken>) -> Result<(), DispatchError> {
        let unused: Vec<_> = taken.into_iter().map(|taken| taken.leased).collect();
        self.counters.released.add(unused.len());
        let connection = self.database.connection().await?;
        Ok(due::release(&connection, &unused).await?)
    }
}

/// Sends one delivery, unless its lease may end before the answer: this process was stopped for a while, and somebody else
/// may be sending it already.
async fn send(attempter: Attempter, ended: UnboundedSender<Ended>, counters: Arc<Counters>, taken: Taken) {
    let Taken { leased, permit, ends } = taken;
    if ends.saturating_duration_since(Instant::now()) < attempter.deadline {
        counters.late.add(1);
        warn!(webhook.id = leased.webhook_id, "the lease of {} is nearly over; not sent", leased.webhook_id);
        return;
    }
    let (recorded, outcome) = attempter.attempt(leased, Utc::now()).await;
    fail_point!("dispatcher-after-answer");
    counters.count(&outcome);
    if ended.send(Ended { recorded, permit }).is_err() {
        error!("the recorder is gone; a delivery will be sent again");
    }
}
