//! The desk: where deliveries wait that a worker in this process has committed and handed over, leased from the start.
//!
//! ```text
//!  worker ──set aside──▶ ( places ) ──take──▶ ( waiting, by endpoint ) ──permit──▶ sent
//!                           full: left in `due`, for whoever leases next
//! ```
//! Places are bounded, in number and in bytes, and shared so that nobody can take them all: an endpoint may have as many as
//! are still free. One that answers nothing ends up with half of them, the next such with half of the rest, and so on; what
//! finds no place waits in Postgres, as ever.
//!
//! Of the permits, all endpoints' and each one's, a quarter is left to what is leased, as long as there is something to
//! lease. An endpoint that has deliveries due, be it for want of a place, gets none until they are leased: else new ones
//! would be sent past old ones for ever. To lease costs more than to hand over. So workers are held up, a little, before an
//! endpoint that answers runs out of places, and while as much is due as can be sent.
//!
//! What waits here is sent to where its endpoint was when its event was committed, and as it was: a change of the endpoint,
//! disabling it too, is seen by what is committed or leased after it. That is a quarter of the time that a lease
//! has for recording, at most: the rest is needed for that, or somebody else would send again what was delivered. What has
//! waited for longer is given back, for whoever leases next.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use database::{
    Database,
    due::{self, Leased},
};
use fail::fail_point;
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, timeout},
};
use tracing::warn;
use vocabulary::EndpointId;

use crate::{
    dispatcher::{DispatchError, Settings},
    in_flight::{Full, InFlight, Share},
    send::Sender,
};

/// How much waits at most: as many as are sent within the time that they may wait, if it is so many a second.
const PLACES_A_SECOND: f64 = 2048.0;
const BYTES: usize = 16 << 20;
/// While customers answer at least this often a worker waits; at most so long in all, and for one of them.
const MOVES_WITHIN: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Where a worker hands over. Cheap to clone.
#[derive(Clone)]
pub struct Desk(Arc<Shared>);

struct Shared {
    lease: Duration,
    /// What must be left of a lease when its delivery is sent.
    needed: Duration,
    in_flight: Arc<InFlight>,
    sender: Sender,
    database: Database,
    runtime: Handle,
    waiting: Mutex<Waiting>,
    freed: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Places in all.
    limit: usize,
    /// Nothing is taken any more.
    is_cleared: bool,
    /// Nothing is sent just now.
    is_held: bool,
    /// There was nothing to lease, so no permits need to be left for that.
    has_all_permits: bool,
    /// As much is due as can be sent.
    is_behind: bool,
    /// Who has deliveries due.
    owing: HashSet<EndpointId>,
    places: usize,
    bytes: usize,
    lines: HashMap<EndpointId, Line>,
    /// The endpoints that something waits for, in the order of their turns.
    turns: VecDeque<EndpointId>,
    /// Those who had few places left when they were given one, and since when.
    crowded: HashMap<EndpointId, Instant>,
    /// No lease of what waits ends before this.
    earliest: Option<Instant>,
}

/// What is there of one endpoint.
struct Line {
    /// Set aside, or waiting.
    places: usize,
    waiting: VecDeque<(Leased, Instant)>,
    /// When something was last sent of it.
    moved: Instant,
}

impl Line {
    fn new() -> Self {
        Self { places: 0, waiting: VecDeque::new(), moved: Instant::now() }
    }

    /// Whether it has much of what it may have: as many as are `free`. A group may owe it hundreds more.
    fn is_crowded(&self, free: usize) -> bool {
        self.places > free / 4
    }
}

impl Desk {
    /// Must be made in the runtime that is to send.
    pub(crate) fn new(settings: &Settings, in_flight: Arc<InFlight>, sender: Sender, database: Database) -> Self {
        let (lease, longest_wait) = (settings.lease(), settings.longest_wait());
        let (needed, places) = (lease - longest_wait, longest_wait.as_secs_f64() * PLACES_A_SECOND);
        let waiting = Mutex::new(Waiting { limit: (places as usize).max(1), ..Waiting::default() });
        let (freed, runtime) = (Notify::new(), Handle::current());
        Self(Arc::new(Shared { lease, needed, in_flight, sender, database, runtime, waiting, freed }))
    }

    /// How long what is handed over is to be leased.
    pub fn lease(&self) -> Duration {
        self.0.lease
    }

    /// Waits until there are places, also for whoever answers, and no more is due than can be sent; as long as customers
    /// answer, and never for long.
    pub async fn has_places(&self) {
        let enough = async {
            while !self.waiting().has_enough(Instant::now()) {
                if timeout(MOVES_WITHIN, self.0.freed.notified()).await.is_err() {
                    return;
                }
            }
        };
        let _in_vain = timeout(LONGEST_WAIT, enough).await;
    }

    /// Sets a place aside for a delivery of so many bytes, or says that there is none.
    pub fn set_aside(&self, endpoint: &EndpointId, bytes: usize) -> bool {
        self.waiting().set_aside(endpoint, bytes)
    }

    /// A place that was set aside is not needed.
    pub fn give_back(&self, endpoint: &EndpointId, bytes: usize) {
        self.waiting().give_back(endpoint, bytes);
        self.0.freed.notify_one();
    }

    /// Takes deliveries, each to the place that was set aside for it, and sends those that there are permits for.
    pub fn take(&self, deliveries: Vec<Leased>, ends: Instant) {
        let mut waiting = self.waiting();
        if waiting.is_cleared {
            drop(waiting);
            return self.give_up(deliveries);
        }
        fail_point!("dispatcher-after-lease");
        self.0.sender.counters.handed_over.add(deliveries.len());
        for leased in deliveries {
            waiting.queue(leased, ends);
        }
        drop(waiting);
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
        let share = if waiting.has_all_permits { Share::All } else { Share::OfDesk };
        for (leased, ends, permit) in waiting.next(|endpoint| in_flight.try_take(endpoint, share)) {
            runtime.spawn(sender.clone().send(leased, permit, ends, self.clone()));
        }
        drop(waiting);
        self.0.freed.notify_one();
        if !late.is_empty() {
            sender.counters.late.add(late.len());
            self.give_up(late);
        }
    }

    /// Gives leases back that nothing is sent under, for whoever leases next.
    fn give_up(&self, deliveries: Vec<Leased>) {
        let database = self.0.database.clone();
        self.0.runtime.spawn(async move {
            if let Err(away) = release(&database, &deliveries).await {
                warn!(
                    error = &away as &dyn std::error::Error,
                    "what was handed over is sent once its leases have ended"
                );
            }
        });
    }

    /// Sends nothing while somebody looks at the rooms and leases what fits into them: two who look could take the same room.
    pub(crate) fn hold(&self) -> Hold<'_> {
        self.waiting().is_held = true;
        Hold(self)
    }

    /// Hears what a lease has brought: whether all the room there was, and of which endpoints. Who had no room may have more.
    pub(crate) fn hear(&self, is_behind: bool, leased: HashSet<EndpointId>, had_room: impl Fn(&EndpointId) -> bool) {
        let mut waiting = self.waiting();
        waiting.is_behind = is_behind;
        waiting.has_all_permits = leased.is_empty();
        if !is_behind {
            waiting.owing.retain(|endpoint| !had_room(endpoint));
        }
        waiting.owing.extend(leased);
    }

    /// Gives back whatever waits for endpoints that are to be left alone. They get places again once they were leased from.
    pub(crate) fn leave(&self, endpoints: &[EndpointId]) {
        let mut waiting = self.waiting();
        let left: Vec<_> = endpoints.iter().flat_map(|endpoint| waiting.take_out(endpoint, |_| true)).collect();
        drop(waiting);
        if !left.is_empty() {
            self.0.sender.counters.late.add(left.len());
            self.give_up(left);
        }
    }

    /// Takes nothing more, and hands out what waits.
    pub(crate) fn clear(&self) -> Vec<Leased> {
        let cleared = Waiting { is_cleared: true, ..Waiting::default() };
        let lines = std::mem::replace(&mut *self.waiting(), cleared).lines;
        lines.into_values().flat_map(|line| line.waiting).map(|(leased, _)| leased).collect()
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

/// Gives leases back under which nothing was sent.
///
/// # Errors
/// When Postgres cannot be asked: then they end by themselves.
pub(crate) async fn release(database: &Database, unused: &[Leased]) -> Result<(), DispatchError> {
    if unused.is_empty() {
        return Ok(());
    }
    let connection = database.connection().await?;
    Ok(due::release(&connection, unused).await?)
}

impl Waiting {
    /// Whether it is worth the while of a worker to go on.
    fn has_enough(&mut self, now: Instant) -> bool {
        let (lines, free) = (&self.lines, self.limit - self.places);
        self.crowded.retain(|endpoint, _| lines.get(endpoint).is_some_and(|line| line.is_crowded(free)));
        let moves = |endpoint: &EndpointId| lines.get(endpoint).is_some_and(|line| now < line.moved + MOVES_WITHIN);
        // Who is slow would hold up all others for as long as he is.
        let runs_out = |(endpoint, since): (&EndpointId, &Instant)| {
            now < *since + LONGEST_WAIT && !self.owing.contains(endpoint) && moves(endpoint)
        };
        let has_room = free >= self.limit / 4 && self.bytes <= BYTES - BYTES / 4;
        self.is_cleared || !self.is_behind && has_room && !self.crowded.iter().any(runs_out)
    }

    fn set_aside(&mut self, endpoint: &EndpointId, bytes: usize) -> bool {
        let own = self.lines.get(endpoint).map_or(0, |line| line.places);
        if self.is_cleared || self.owing.contains(endpoint) {
            return false;
        }
        if own >= self.limit - self.places || self.bytes + bytes > BYTES {
            // It will be due, and those after it must not pass it.
            self.owing.insert(endpoint.clone());
            return false;
        }
        self.places += 1;
        self.bytes += bytes;
        let free = self.limit - self.places;
        let line = self.lines.entry(endpoint.clone()).or_insert_with(Line::new);
        line.places += 1;
        if line.is_crowded(free) && !self.crowded.contains_key(endpoint) {
            self.crowded.insert(endpoint.clone(), Instant::now());
        }
        true
    }

    fn give_back(&mut self, endpoint: &EndpointId, bytes: usize) {
        // A desk that was cleared meanwhile knows nothing of it.
        let Some(line) = self.lines.get_mut(endpoint) else { return };
        line.places -= 1;
        self.places -= 1;
        self.bytes -= bytes;
        if line.places == 0 {
            self.lines.remove(endpoint);
        }
    }

    fn queue(&mut self, leased: Leased, ends: Instant) {
        let line = self.lines.entry(leased.endpoint_id.clone()).or_insert_with(Line::new);
        if line.waiting.is_empty() {
            self.turns.push_back(leased.endpoint_id.clone());
        }
        line.waiting.push_back((leased, ends));
        self.earliest = Some(self.earliest.map_or(ends, |earliest| earliest.min(ends)));
    }

    /// What there are permits for, endpoint by endpoint in turns; each goes behind the others after its turn.
    fn next<P>(&mut self, mut permit: impl FnMut(&EndpointId) -> Result<P, Full>) -> Vec<(Leased, Instant, P)> {
        let (mut next, mut full) = (Vec::new(), Vec::new());
        while let Some(endpoint) = self.turns.pop_front() {
            match permit(&endpoint) {
                Ok(permit) => next.extend(self.next_of(&endpoint).map(|(leased, ends)| (leased, ends, permit))),
                Err(Full::ForEndpoint) => full.push(endpoint),
                Err(Full::ForAll) => {
                    self.turns.push_front(endpoint);
                    break;
                }
            }
        }
        self.turns.extend(full);
        next
    }

    /// Takes out what has waited for too long: whose lease ends before `needed`. In each line the oldest come first.
    fn late(&mut self, needed: Instant) -> Vec<Leased> {
        if self.earliest.is_none_or(|earliest| earliest >= needed) {
            return Vec::new();
        }
        let is_late = |line: &Line| line.waiting.front().is_some_and(|(_, ends)| *ends < needed);
        let lines: Vec<_> = self.lines.iter().filter(|(_, line)| is_late(line)).map(|(id, _)| id.clone()).collect();
        let late: Vec<_> = lines.iter().flat_map(|endpoint| self.take_out(endpoint, is_late)).collect();
        self.earliest = self.lines.values().filter_map(|line| line.waiting.front()).map(|(_, ends)| *ends).min();
        late
    }

    /// Takes an endpoint's deliveries out, from the oldest on, while they are such; it gets no place until it was leased from.
    fn take_out(&mut self, endpoint: &EndpointId, is_such: impl Fn(&Line) -> bool) -> Vec<Leased> {
        let mut out = Vec::new();
        while let Some(line) = self.lines.get_mut(endpoint).filter(|line| is_such(line))
            && let Some((leased, _)) = line.waiting.pop_front()
        {
            self.give_back(endpoint, leased.body.len());
            out.push(leased);
        }
        self.owing.insert(endpoint.clone());
        if self.lines.get(endpoint).is_none_or(|line| line.waiting.is_empty()) {
            self.turns.retain(|turn| turn != endpoint);
        }
        out
    }

    /// The next delivery to an endpoint; its place is free then.
    fn next_of(&mut self, endpoint: &EndpointId) -> Option<(Leased, Instant)> {
        let line = self.lines.get_mut(endpoint)?;
        let next = line.waiting.pop_front()?;
        line.moved = Instant::now();
        if !line.waiting.is_empty() {
            self.turns.push_back(endpoint.clone());
        }
        self.give_back(endpoint, next.0.body.len());
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use database::endpoints::Target;
    use uuid::Uuid;

    use super::*;

    const PLACES: usize = 2048;

    fn endpoint(id: &str) -> EndpointId {
        id.parse().unwrap()
    }

    fn desk() -> Waiting {
        Waiting { limit: PLACES, ..Waiting::default() }
    }

    fn leased(endpoint_id: &str, body: &'static str) -> Leased {
        Leased {
            event_id: Uuid::nil(),
            endpoint_id: endpoint(endpoint_id),
            lease: 1,
            attempts: 0,
            webhook_id: "msg_1".to_owned(),
            body: body.into(),
            target: Arc::new(Target::default()),
            has_gate: false,
            lane: None,
        }
    }

    fn take_all(waiting: &mut Waiting, id: &str) -> usize {
        std::iter::repeat_with(|| waiting.set_aside(&endpoint(id), 1)).take_while(|has_place| *has_place).count()
    }

    #[test]
    fn nobody_can_have_more_places_than_are_left_for_the_others() {
        let mut waiting = desk();

        assert_eq!(take_all(&mut waiting, "hangs"), PLACES / 2);
        assert_eq!(take_all(&mut waiting, "hangs-too"), PLACES / 4);

        assert!(waiting.set_aside(&endpoint("answers"), 1));
    }

    #[test]
    fn what_is_large_has_a_place_only_while_the_memory_for_it_is_there() {
        let mut waiting = desk();

        assert!(waiting.set_aside(&endpoint("large"), BYTES));
        assert!(!waiting.set_aside(&endpoint("small"), 1));

        waiting.give_back(&endpoint("large"), BYTES);
        assert!(waiting.set_aside(&endpoint("another"), 1));
    }

    #[test]
    fn who_has_deliveries_due_gets_no_place_until_they_are_leased() {
        let mut waiting = Waiting { owing: [endpoint("late")].into(), ..desk() };

        assert!(!waiting.set_aside(&endpoint("late"), 1));
        assert!(waiting.set_aside(&endpoint("prompt"), 1));

        waiting.owing.clear();
        assert!(waiting.set_aside(&endpoint("late"), 1));
    }

    fn waiting_with(deliveries: &[(&str, &'static str)]) -> Waiting {
        let (mut waiting, now) = (desk(), Instant::now());
        for (id, body) in deliveries {
            assert!(waiting.set_aside(&endpoint(id), body.len()));
            waiting.queue(leased(id, body), now);
        }
        waiting
    }

    fn sent(next: Vec<(Leased, Instant, ())>) -> Vec<bytes::Bytes> {
        next.into_iter().map(|(leased, ..)| leased.body).collect()
    }

    #[test]
    fn endpoints_take_turns_and_a_place_is_free_once_its_delivery_is_sent() {
        let mut waiting = waiting_with(&[("a", "a1"), ("a", "a2"), ("b", "b1")]);

        assert_eq!(sent(waiting.next(|_| Ok(()))), ["a1", "b1", "a2"]);
        assert_eq!((waiting.places, waiting.bytes, waiting.lines.len(), waiting.turns.len()), (0, 0, 0, 0));
    }

    #[test]
    fn who_has_no_permit_of_his_own_holds_up_nobody_else() {
        let mut waiting = waiting_with(&[("hangs", "h1"), ("b", "b1"), ("b", "b2"), ("b", "b3")]);
        let permit = |id: &EndpointId| if id.as_str() == "hangs" { Err(Full::ForEndpoint) } else { Ok(()) };

        assert_eq!(sent(waiting.next(permit)), ["b1", "b2", "b3"]);
        assert_eq!(sent(waiting.next(|_| Ok(()))), ["h1"]);
    }

    #[test]
    fn who_found_no_permit_left_has_the_next_turn() {
        let mut waiting = waiting_with(&[("a", "a1"), ("b", "b1"), ("c", "c1"), ("a", "a2")]);
        let mut one_at_a_time = || {
            let mut left = 1;
            let permit = |_: &EndpointId| {
                left -= 1;
                if left == 0 { Ok(()) } else { Err(Full::ForAll) }
            };
            sent(waiting.next(permit))
        };

        assert_eq!(
            [one_at_a_time(), one_at_a_time(), one_at_a_time(), one_at_a_time()].concat(),
            ["a1", "b1", "c1", "a2"]
        );
    }

    #[test]
    fn what_has_waited_for_too_long_is_given_back_and_its_place_is_free() {
        let mut waiting = waiting_with(&[("hangs", "h1"), ("hangs", "h2")]);
        assert!(waiting.late(Instant::now() - Duration::from_secs(1)).is_empty());

        let late = waiting.late(Instant::now() + Duration::from_secs(1));

        assert_eq!(late.iter().map(|leased| &leased.body[..]).collect::<Vec<_>>(), [b"h1", b"h2"]);
        assert_eq!((waiting.places, waiting.bytes, waiting.lines.len(), waiting.turns.len()), (0, 0, 0, 0));
    }

    #[test]
    fn who_found_no_place_gets_none_before_what_is_due_was_leased() {
        let mut waiting = desk();
        take_all(&mut waiting, "bot");

        waiting.give_back(&endpoint("bot"), 1);

        assert!(!waiting.set_aside(&endpoint("bot"), 1), "it would pass what is due");
        assert!(waiting.set_aside(&endpoint("other"), 1));
    }

    #[test]
    fn a_worker_is_held_up_before_an_endpoint_that_answers_runs_out_of_places() {
        let mut waiting = desk();
        let now = Instant::now();
        for _ in 0..PLACES / 5 {
            assert!(waiting.has_enough(now));
            assert!(waiting.set_aside(&endpoint("answers"), 1));
        }
        assert!(waiting.set_aside(&endpoint("answers"), 1));

        assert!(!waiting.has_enough(now));
        assert!(waiting.set_aside(&endpoint("answers"), 1), "there are places left for what is on its way");
        assert!(waiting.has_enough(now + 2 * MOVES_WITHIN), "it does not answer any more: not worth waiting for");
        waiting.lines.get_mut(&endpoint("answers")).unwrap().moved = now + 2 * LONGEST_WAIT;
        assert!(
            waiting.has_enough(now + 2 * LONGEST_WAIT),
            "it answers, too slowly: others were held up for long enough"
        );
    }

    #[test]
    fn a_worker_waits_for_nobody_who_has_run_out_of_places_already() {
        let mut waiting = desk();
        take_all(&mut waiting, "slow");

        assert!(waiting.has_enough(Instant::now()));
    }
}
