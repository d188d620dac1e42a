//! The desk: where deliveries wait that a worker in this process has committed and handed over, leased from the start.
//!
//! ```text
//!  worker ──set aside──▶ ( places ) ──take──▶ ( waiting, by endpoint ) ──permit──▶ sent
//!                           full: left in `due`, for whoever leases next
//! ```
//! Places are bounded, in number and in bytes, and shared among accounts, and among the endpoints of each, so that nobody can
//! take them all, with however many endpoints that hang and however large bodies (`desk/places.rs`). What finds no place waits in
//! Postgres, as ever.
//!
//! Of the permits, all, each account's and each endpoint's, a quarter is left to what is leased, as long as there is something to
//! lease. An endpoint that has deliveries due, be it for want of a place, gets none until a lease that had room for more has left
//! none of them: else new ones would be sent past old ones for ever. What was committed while that lease was asked for is passed by
//! some, and leased next. To wait for a lease that finds nothing at all would be to lease for ever where there is always something
//! new.
//!
//! To lease costs more than to hand over. So workers are held up, a little, before an endpoint that answers runs out of places, until
//! what is due to it after that was leased, and while a lease brings all that can be sent (`desk/awaited.rs`).
//!
//! What waits here is sent to where its endpoint was when its event was committed, and as it was: a change of the endpoint,
//! disabling it too, is seen by what is committed or leased after it. That is a quarter of the time that a lease
//! has for recording, at most: the rest is needed for that, or somebody else would send again what was delivered. What has
//! waited for longer is given back, for whoever leases next.

mod awaited;
mod places;
mod waiting;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::Utc;
use database::{Database, due::Leased};
use fail::fail_point;
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, timeout},
};
use vocabulary::EndpointId;

use crate::{
    in_flight::{InFlight, Portion},
    send::Sender,
    settings::Settings,
    unsent::give_back,
};
use awaited::{LONGEST_WAIT, MOVES_WITHIN};
use waiting::Waiting;

/// How much waits at most: as many as are sent within the time that they may wait, if it is so many a second.
const PLACES_A_SECOND: f64 = 4096.0;

/// Where a worker hands over. Cheap to clone.
#[derive(Clone)]
pub struct Desk(Arc<Shared>);

struct Shared {
    lease: Duration,
    /// What must be left of a lease when its delivery is sent.
    needed: Duration,
    in_flight: Arc<InFlight>,
    sender: Arc<Sender>,
    database: Database,
    runtime: Handle,
    waiting: Mutex<Waiting>,
    freed: Notify,
}

impl Desk {
    /// Must be made in the runtime that is to send.
    pub(crate) fn new(settings: &Settings, in_flight: Arc<InFlight>, sender: Arc<Sender>, database: Database) -> Self {
        let (lease, longest_wait) = (settings.lease(), settings.longest_wait());
        let (needed, places) = (lease - longest_wait, longest_wait.as_secs_f64() * PLACES_A_SECOND);
        let waiting = Mutex::new(Waiting::with_places(places as usize));
        let (freed, runtime) = (Notify::new(), Handle::current());
        Self(Arc::new(Shared { lease, needed, in_flight, sender, database, runtime, waiting, freed }))
    }

    /// How long what is handed over is to be leased.
    pub fn lease(&self) -> Duration {
        self.0.lease
    }

    /// Waits until there are places for whoever answers, and no more is due to him than can be sent; as long as he answers, and
    /// never for long.
    pub async fn has_places(&self) {
        let enough = async {
            while !self.waiting().has_enough(Instant::now()) {
                let _nothing_freed = timeout(MOVES_WITHIN, self.0.freed.notified()).await;
            }
        };
        let _in_vain = timeout(LONGEST_WAIT, enough).await;
    }

    /// Sets a place aside for a delivery of so many bytes to an endpoint of this account, or says that there is none.
    pub fn set_aside(&self, account: &str, endpoint: &EndpointId, bytes: usize) -> bool {
        self.waiting().set_aside(account, endpoint, bytes, Instant::now())
    }

    /// A place that was set aside is not needed.
    pub fn give_back(&self, account: &str, endpoint: &EndpointId, bytes: usize) {
        self.waiting().give_back(account, endpoint, bytes);
        self.0.freed.notify_one();
    }

    /// Takes deliveries, each to the place that was set aside for it, and sends those that there are permits for.
    pub fn take(&self, deliveries: Vec<Leased>, ends: Instant) {
        let mut waiting = self.waiting();
        if waiting.is_cleared {
            drop(waiting);
            return self.release(deliveries);
        }
        fail_point!("dispatcher-after-lease");
        let Sender { counters, foreign, left_alone, .. } = &*self.0.sender;
        counters.handed_over.add(deliveries.len());
        let now = Instant::now();
        foreign.note(&deliveries, now, Utc::now());
        let closed = left_alone.among(&deliveries, now);
        for leased in deliveries {
            waiting.queue(leased, ends);
        }
        let left = waiting.take_all(&closed);
        drop(waiting);
        self.release(left);
        self.send_what_may();
    }

    /// Sends what there are permits for. To be called whenever a permit was given back.
    pub(crate) fn send_what_may(&self) {
        let Shared { in_flight, sender, runtime, needed, .. } = &*self.0;
        let mut waiting = self.waiting();
        if waiting.is_held {
            return;
        }
        let late = waiting.late(Instant::now() + *needed);
        let portion = if waiting.has_all_permits { Portion::All } else { Portion::OfDesk };
        for (leased, ends, permit) in waiting.next(|leased| in_flight.try_take(leased, portion)) {
            // A task is moved as a whole when it is made, and again when it ends; its box is small.
            runtime.spawn(Box::pin(sender.clone().send(leased, permit, ends, self.clone())));
        }
        drop(waiting);
        self.0.freed.notify_one();
        sender.counters.waited_too_long.add(late.len());
        self.give_up(late);
    }

    /// Gives back what could have been sent still.
    fn release(&self, deliveries: Vec<Leased>) {
        self.0.sender.counters.released.add(deliveries.len());
        self.give_up(deliveries);
    }

    /// Gives leases back that nothing is sent under, for whoever leases next.
    fn give_up(&self, deliveries: Vec<Leased>) {
        if deliveries.is_empty() {
            return;
        }
        let database = self.0.database.clone();
        self.0.runtime.spawn(async move { give_back(&database, &deliveries, Duration::ZERO).await });
    }

    /// Sends nothing while somebody looks at the rooms and leases what fits into them: two who look could take the same room.
    pub(crate) fn hold(&self) -> Hold<'_> {
        self.waiting().is_held = true;
        Hold(self)
    }

    /// A customer was content with a delivery, wherever it came from.
    pub(crate) fn answered(&self, endpoint: &EndpointId) {
        self.waiting().answered(endpoint, Instant::now());
    }

    /// Hears what a lease has brought: whether all the room there was, and of which endpoints, with their accounts. Who had no room
    /// for more may have more due; of whom it is not known whose he is, that is asked without an account.
    pub(crate) fn hear(
        &self,
        fills_room: bool,
        leased: &HashMap<EndpointId, String>,
        had_room: impl Fn(&EndpointId, Option<&String>) -> bool,
    ) {
        self.waiting().hear(fills_room, leased, had_room, Instant::now());
        self.0.freed.notify_one();
    }

    /// Gives back whatever waits for endpoints that are to be left alone. They get places again once they were leased from.
    pub(crate) fn leave(&self, endpoints: &[EndpointId]) {
        let mut waiting = self.waiting();
        let left = waiting.take_all(endpoints);
        drop(waiting);
        self.release(left);
    }

    /// Takes nothing more, and hands out what waits.
    pub(crate) fn clear(&self) -> Vec<Leased> {
        self.waiting().clear()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing is sent from the desk as long as it is there.
pub(crate) struct Hold<'d>(&'d Desk);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.waiting().is_held = false;
        self.0.send_what_may();
    }
}
