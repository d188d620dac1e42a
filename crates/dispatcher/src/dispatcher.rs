//! The loop: a step, `dispatch_due`, plus a pause.

use std::{collections::HashSet, sync::Arc, time::Duration};

use database::{
    Database, DatabaseError, QueryError,
    due::{self, LeaseRequest, Leased, Room},
};
use fail::fail_point;
use tokio::{
    sync::{Notify, mpsc::unbounded_channel},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::error;
use vocabulary::{EndpointId, MasterKey};

use crate::{
    attempt::Attempter,
    back_off::BackOff,
    client::Client,
    counters::Counters,
    desk::{Desk, give_back, release},
    foreign::Foreign,
    in_flight::{InFlight, Limits, Permit, Rooms},
    outcome::Schedule,
    recorder::{LINGER, Recorder},
    send::Sender,
    targets::Targets,
};

/// How often room that is given back makes the loop look, while one endpoint or all are full.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(5);

/// What a Postgres records for one process that is as slow as we are ready to bear: a hundredth of what it does on two cores.
const RECORDED_A_SECOND: f64 = 80.0;

/// How a dispatcher works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Deliveries that this process sends at the same time; fewer where the slack is short, because what is not
    /// recorded when its lease ends is sent again.
    pub in_flight: usize,
    /// Of these, to one endpoint; never more than a quarter of what may be sent.
    pub per_endpoint: usize,
    /// Deliveries that one statement leases, and attempts that one records, at most.
    pub batch: usize,
    /// What one attempt may take, from the name's resolution to the last byte of the answer.
    pub deadline: Duration,
    /// How much longer than the deadline a lease is: the time to record the result before somebody else sends again.
    pub slack: Duration,
    /// The longest pause between two looks into `due`, when nobody wakes the loop.
    pub poll: Duration,
    /// When failed deliveries are tried again.
    pub schedule: Schedule,
    /// An endpoint that has done nothing but fail for so long is disabled, and its account told. What it is owed is held.
    pub disable_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            in_flight: 256,
            per_endpoint: 64,
            batch: 500,
            deadline: Duration::from_secs(15),
            slack: Duration::from_secs(15),
            poll: Duration::from_secs(1),
            schedule: Schedule::default(),
            disable_after: Duration::from_secs(5 * 24 * 3600),
        }
    }
}

impl Settings {
    /// How long a delivery is leased.
    pub(crate) fn lease(&self) -> Duration {
        self.deadline + self.slack
    }

    /// How long what is leased may wait before it is sent: the rest of the slack is for recording what came of it.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.slack / 4
    }

    /// No more is sent and not recorded yet than a slow Postgres records within what a wait leaves of the slack. Else
    /// leases would end before what came of them is recorded, and others would send again what was delivered.
    fn limits(&self) -> Limits {
        let for_recording = (self.slack - self.longest_wait()).as_secs_f64();
        let unrecorded = (for_recording * RECORDED_A_SECOND).ceil().max(1.0) as usize;
        let in_flight = self.in_flight.min(unrecorded.div_ceil(2));
        Limits { in_flight, per_endpoint: self.per_endpoint.min(in_flight.div_ceil(4)), unrecorded }
    }
}

/// Leases deliveries, sends them, has the results recorded.
pub struct Dispatcher {
    database: Database,
    sender: Sender,
    desk: Desk,
    lease: Duration,
    poll: Duration,
    batch: usize,
    in_flight: Arc<InFlight>,
    counters: Arc<Counters>,
    /// What the recorder notifies.
    look: Arc<Notify>,
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

/// What a step found due.
struct Found {
    taken: Vec<Taken>,
    /// Of whom something was leased. It is among what was taken, or given back already.
    endpoints: HashSet<EndpointId>,
    /// Whether as much is due as there was room for.
    fills_room: bool,
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
        let (ended_in_lane, results_in_lane) = unbounded_channel();
        let counters = Arc::new(Counters::default());
        let in_flight = InFlight::new(settings.limits());
        let Settings { deadline, poll, batch, .. } = settings;
        let lease = settings.lease();
        let foreign = Arc::new(Foreign::new(master.clone()));
        let attempter =
            Attempter { targets: Targets::new(master), client, deadline, schedule: settings.schedule.clone() };
        let sender =
            Sender { attempter: Arc::new(attempter), ended, ended_in_lane, counters: counters.clone(), foreign };
        let desk = Desk::new(&settings, in_flight.clone(), sender.clone(), database.clone());
        let look = Arc::new(Notify::new());
        let recorder = |ended, linger| Recorder {
            database: database.clone(),
            counters: counters.clone(),
            ended,
            batch,
            linger,
            disable_after: settings.disable_after,
            desk: desk.clone(),
            look: look.clone(),
        };
        tokio::spawn(recorder(results, LINGER).run());
        // The next of a lane waits for the record of the one before it.
        tokio::spawn(recorder(results_in_lane, Duration::ZERO).run());
        Self { database, sender, desk, lease, poll, batch, in_flight, counters, look }
    }

    /// Where a worker in this process can hand over what it commits.
    pub fn desk(&self) -> Desk {
        self.desk.clone()
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
        let hold = self.desk.hold();
        let Found { taken, .. } = self.lease_due(&self.rooms()).await?;
        drop(hold);
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
        while !stop.is_cancelled() {
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
                () = self.look.notified() => {}
                () = self.room_is_made(), if pause.for_room => {}
            }
        }
        if let Err(away) = self.release(self.desk.clear()).await {
            error!(error = &away as &dyn std::error::Error, "what was handed over is sent once its leases have ended");
        }
        if timeout(self.lease, self.settled()).await.is_err() {
            error!("stopped before every result was recorded; these deliveries will be sent again");
        }
    }

    async fn step(&mut self, stop: &CancellationToken) -> Result<Pause, DispatchError> {
        let hold = self.desk.hold();
        let rooms = self.rooms();
        let Found { taken, endpoints, fills_room } = self.lease_due(&rooms).await?;
        drop(hold);
        if stop.is_cancelled() {
            self.release(taken.into_iter().map(|taken| taken.leased).collect()).await?;
            return Ok(Pause::NONE);
        }
        // Without room nobody has looked, and nothing is known of what is due.
        if rooms.all.all > 0 {
            let full = rooms.full();
            self.desk.hear(fills_room, &endpoints, |endpoint| !full.contains(endpoint));
        }
        if !endpoints.is_empty() {
            self.start(taken);
            return Ok(Pause::NONE);
        }
        let connection = self.database.connection().await?;
        let next = due::next_due(&connection).await?.unwrap_or(self.poll);
        Ok(Pause { at_most: next.min(self.poll), for_room: rooms.are_scarce() })
    }

    /// Room that was given back, after a moment in which more may be: each look for deliveries has its price.
    async fn room_is_made(&self) {
        sleep(LOOK_AT_MOST_EVERY).await;
        self.in_flight.given_back().await;
    }

    fn rooms(&self) -> Rooms {
        self.in_flight.rooms().without(self.sender.foreign.closed(Instant::now()))
    }

    /// Takes what there is room for. The lease is counted from before it was asked for, so that it ends here no later than
    /// in Postgres.
    async fn lease_due(&self, rooms: &Rooms) -> Result<Found, DispatchError> {
        if rooms.all.all == 0 {
            return Ok(Found { taken: Vec::new(), endpoints: HashSet::new(), fills_room: false });
        }
        let connection = self.database.connection().await?;
        let ends = Instant::now() + self.lease;
        let room = Room { all: rooms.all.all.min(self.batch), retries: rooms.all.retries.min(self.batch) };
        let request = LeaseRequest { room, per_endpoint: rooms.per_endpoint, busy: &rooms.busy, lease: self.lease };
        let leased = due::lease(&connection, &request).await?;
        drop(connection);
        self.counters.leased.add(leased.len());
        if !leased.is_empty() {
            fail_point!("dispatcher-after-lease");
        }
        let endpoints = leased.iter().map(|leased| leased.endpoint_id.clone()).collect();
        let fills_room = leased.len() >= rooms.all.all;
        let take = |leased: Leased| {
            let permit = self.in_flight.take(&leased.endpoint_id, leased.attempts > 0);
            Taken { leased, permit, ends }
        };
        let taken = self.leave_to_others(leased).await.into_iter().map(take).collect();
        Ok(Found { taken, endpoints, fills_room })
    }

    /// Gives back what others have the key for, and hands out the rest.
    async fn leave_to_others(&self, leased: Vec<Leased>) -> Vec<Leased> {
        let closed = self.sender.foreign.note(&leased, Instant::now());
        if closed.is_empty() {
            return leased;
        }
        self.desk.leave(&closed);
        let (foreign, own): (Vec<_>, _) = leased.into_iter().partition(|leased| closed.contains(&leased.endpoint_id));
        self.counters.released.add(foreign.len());
        give_back(&self.database, &foreign).await;
        own
    }

    fn start(&self, taken: Vec<Taken>) {
        for Taken { leased, permit, ends } in taken {
            tokio::spawn(self.sender.clone().send(leased, permit, ends, self.desk.clone()));
        }
    }

    async fn release(&self, unused: Vec<Leased>) -> Result<(), DispatchError> {
        self.counters.released.add(unused.len());
        release(&self.database, &unused).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_the_slack_the_less_is_on_the_way() {
        let with = |slack| Settings { slack: Duration::from_secs(slack), ..Settings::default() }.limits();

        assert_eq!(with(15), Limits { in_flight: 256, per_endpoint: 64, unrecorded: 900 });
        assert_eq!(with(2), Limits { in_flight: 60, per_endpoint: 15, unrecorded: 120 });
        assert_eq!(with(0), Limits { in_flight: 1, per_endpoint: 1, unrecorded: 1 });
    }
}
