//! The loop: a step, `dispatch_due`, plus a pause.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use database::{
    Database,
    due::{self, Body, LeaseRequest, Leased},
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
use tracing::error;
use vocabulary::{EndpointId, MasterKey};

use crate::{
    attempt::Attempter,
    back_off::BackOff,
    client::Client,
    counters::Counters,
    desk::Desk,
    error::DispatchError,
    fetcher::{Fetcher, Wanted},
    foreign::Foreign,
    in_flight::{InFlight, Permit, Rooms},
    large_bodies::Which,
    left_alone::LeftAlone,
    put_off::{self, PutOff},
    recorder::{LINGER, Recorder},
    send::Sender,
    settings::Settings,
    targets::Targets,
    unsent::{give_back, release},
};

mod pause;

use pause::{LOOK_AT_MOST_EVERY, LOOK_IN_VAIN_AT_MOST_EVERY, Pause};

/// Leases deliveries, sends them, has the results recorded.
pub struct Dispatcher {
    database: Database,
    sender: Arc<Sender>,
    desk: Desk,
    lease: Duration,
    poll: Duration,
    batch: usize,
    in_flight: Arc<InFlight>,
    counters: Arc<Counters>,
    /// What the recorder notifies.
    look: Arc<Notify>,
    /// Where bodies are asked for that leases leave behind.
    fetcher: UnboundedSender<Wanted>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dispatched {
    /// Deliveries that it leased, and began to send.
    pub leased: usize,
}

/// What a step found due.
#[derive(Default)]
struct Found {
    taken: Vec<Taken<Body>>,
    /// Of whom something was leased, and their accounts. It is among what was taken, or given back already.
    endpoints: HashMap<EndpointId, String>,
    /// Whether as much is due as there was room for.
    fills_room: bool,
    /// Of whom more may be due: because they have their share, or are left alone.
    full_accounts: HashSet<String>,
    full_endpoints: HashSet<EndpointId>,
}

/// A delivery and the right to send it, until `ends`.
pub(crate) struct Taken<B> {
    pub(crate) leased: Leased<B>,
    pub(crate) permit: Permit,
    pub(crate) ends: Instant,
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
        let (to_release, put_off) = unbounded_channel();
        tokio::spawn(put_off::release_all(database.clone(), put_off, batch));
        let left_alone = Arc::new(LeftAlone::default());
        let foreign = Arc::new(Foreign::new(master.clone(), left_alone.clone()));
        let put_off = Arc::new(PutOff::new(left_alone.clone(), to_release));
        let attempter =
            Attempter { targets: Targets::new(master), client, deadline, schedule: settings.schedule.clone() };
        let counted = counters.clone();
        let sender =
            Arc::new(Sender { attempter, ended, ended_in_lane, counters: counted, foreign, left_alone, put_off });
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
        let fetcher = Fetcher::start(&settings, database.clone(), sender.clone(), desk.clone());
        Self { database, sender, desk, lease, poll, batch, in_flight, counters, look, fetcher }
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
                Err(failed) => {
                    let held_up_by = failed.held_up_by();
                    error!(error = &failed as &dyn std::error::Error, "{held_up_by}; dispatching pauses");
                    Pause { at_least: back_off.next(), ..Pause::NONE }
                }
            };
            if self.is_called_within(&pause, &stop).await {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause.at_most) => {}
                () = wake.notified() => {}
                () = self.look.notified() => {}
                () = self.room_is_made(), if pause.for_room => {}
            }
        }
        if let Err(failed) = self.release(self.desk.clear()).await {
            error!(
                error = &failed as &dyn std::error::Error,
                "what was handed over is sent once its leases have ended"
            );
        }
        if timeout(self.lease, self.settled()).await.is_err() {
            error!("stopped before every result was recorded; these deliveries will be sent again");
        }
    }

    async fn step(&mut self, stop: &CancellationToken) -> Result<Pause, DispatchError> {
        let hold = self.desk.hold();
        let rooms = self.rooms();
        let Found { taken, endpoints, fills_room, full_accounts, full_endpoints } = self.lease_due(&rooms).await?;
        if stop.is_cancelled() {
            self.release(taken.into_iter().map(|taken| taken.leased).collect()).await?;
            return Ok(Pause::NONE);
        }
        // Without room nobody has looked, and nothing is known of what is due.
        if rooms.all.all > 0 {
            // Of whom it is not known whose he is, an account that is full may be.
            let account_is_full = |account: Option<&String>| {
                account.map_or(!full_accounts.is_empty(), |account| full_accounts.contains(account))
            };
            let had_room =
                |id: &EndpointId, account: Option<&String>| !account_is_full(account) && !full_endpoints.contains(id);
            self.desk.hear(fills_room, &endpoints, had_room);
        }
        drop(hold);
        if !endpoints.is_empty() {
            let pause = Pause::after(&taken);
            self.start(taken);
            return Ok(pause);
        }
        let connection = self.database.connection().await?;
        let next = due::next_due(&connection).await.map_err(DispatchError::NextDue)?.unwrap_or(self.poll);
        let (at_least, at_most) = (LOOK_IN_VAIN_AT_MOST_EVERY, next.min(self.poll));
        Ok(Pause { at_least, at_most, for_room: rooms.are_scarce() })
    }

    /// Waits for as long as it must, unless it has looked in vain and is called away: not by whoever has committed something, but by
    /// whoever has recorded something, or has made room.
    async fn is_called_within(&self, pause: &Pause, stop: &CancellationToken) -> bool {
        tokio::select! {
            () = stop.cancelled() => true,
            () = self.look.notified(), if !pause.at_most.is_zero() => true,
            () = self.room_is_made(), if pause.for_room => true,
            () = sleep(pause.at_least) => false,
        }
    }

    /// Room that was given back, after a moment in which more may be: each look for deliveries has its price.
    async fn room_is_made(&self) {
        sleep(LOOK_AT_MOST_EVERY).await;
        self.in_flight.given_back().await;
    }

    fn rooms(&self) -> Rooms {
        self.in_flight.rooms().without(self.sender.left_alone.closed(Instant::now()))
    }

    /// Takes what there is room for. The lease is counted from before it was asked for, so that it ends here no later than
    /// in Postgres.
    async fn lease_due(&self, rooms: &Rooms) -> Result<Found, DispatchError> {
        if rooms.all.all == 0 {
            return Ok(Found::default());
        }
        let connection = self.database.connection().await?;
        let ends = Instant::now() + self.lease;
        let room = rooms.all.within(self.batch);
        let Rooms { per_endpoint, per_account, .. } = *rooms;
        let (busy, busy_accounts, lease) = (&rooms.busy, &rooms.busy_accounts, self.lease);
        let request = LeaseRequest { room, per_endpoint, busy, per_account, busy_accounts, lease };
        let leased = due::lease(&connection, &request).await.map_err(DispatchError::Lease)?;
        drop(connection);
        self.counters.leased.add(leased.len());
        if !leased.is_empty() {
            fail_point!("dispatcher-after-lease");
        }
        let whose = |leased: &Leased<Body>| (leased.endpoint_id.clone(), leased.target.account_id.clone());
        let endpoints = leased.iter().map(whose).collect();
        let (fills_room, full_accounts) = (leased.len() >= room.all, rooms.full_accounts(&leased));
        let mut full_endpoints = rooms.full_endpoints(&leased);
        let take = |leased: Leased<Body>| {
            let permit = self.in_flight.take(&leased);
            Taken { leased, permit, ends }
        };
        let taken = self.leave_to_others(leased).await.into_iter().map(take).collect();
        full_endpoints.extend(self.sender.left_alone.closed(Instant::now()));
        Ok(Found { taken, endpoints, fills_room, full_accounts, full_endpoints })
    }

    /// Gives back what others have the key for, and hands out the rest.
    async fn leave_to_others(&self, leased: Vec<Leased<Body>>) -> Vec<Leased<Body>> {
        let (Sender { foreign, left_alone, .. }, now) = (&*self.sender, Instant::now());
        foreign.note(&leased, now, Utc::now());
        let closed = left_alone.among(&leased, now);
        if closed.is_empty() {
            return leased;
        }
        self.desk.leave(&closed);
        let (foreign, own): (Vec<_>, _) = leased.into_iter().partition(|leased| closed.contains(&leased.endpoint_id));
        self.counters.released.add(foreign.len());
        give_back(&self.database, &foreign, Duration::ZERO).await;
        own
    }

    /// What is small does not wait for the large.
    fn start(&self, taken: Vec<Taken<Body>>) {
        let mut wanted = Wanted::new();
        for Taken { leased, permit, ends } in taken {
            let (leased, body) = leased.split();
            match body {
                Body::Brought(body) => {
                    tokio::spawn(self.sender.clone().send(leased.with(body), permit, ends, self.desk.clone()));
                }
                Body::Left { format, bytes } => {
                    let account_id = leased.target.account_id.clone();
                    let which = Which { account_id, event_id: leased.event_id, format, bytes };
                    wanted.entry(which).or_default().push(Taken { leased, permit, ends });
                }
            }
        }
        if !wanted.is_empty() && self.fetcher.send(wanted).is_err() {
            error!("nobody reads large bodies any more; their deliveries are sent once their leases have ended");
        }
    }

    async fn release<B>(&self, unused: Vec<Leased<B>>) -> Result<(), DispatchError> {
        self.counters.released.add(unused.len());
        release(&self.database, &unused, Duration::ZERO).await
    }
}
