//! Who is asked for the addresses of a name, and how many names at once.
//!
//! The system's look-up (`getaddrinfo`) holds a thread for as long as it likes, also when nobody waits for it any more, and
//! a runtime has so many of them and no more. So look-ups have places, and each keeps its place until it has really ended.
//! Whoever asks for a name that is being asked for waits for that same answer: a name never has more than one place.
//!
//! Accounts share the places (`fairness.rs`), so that names that never answer hold up the account whose they are. Who finds no
//! place has asked nobody: that says nothing of his name, and is no attempt.
//!
//! It gives no time to live, and nothing here keeps an answer: once it is there, the next connection asks again.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use crate::{asker::Asker, fairness::share};

/// How much is asked for, and waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Names that are asked for at once.
    pub(crate) places: usize,
    /// How long a place is waited for at most.
    pub(crate) place_within: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // An eighth of the threads that a runtime has for such work, unless it is told otherwise.
            places: 64,
            // Names that answer free a place within tens of milliseconds, and who waits for one holds a place in flight.
            place_within: Duration::from_secs(1),
        }
    }
}

impl Bounds {
    /// Well below the deadline: where nobody was asked, that is to be known before it.
    fn waits(self, asker: Asker<'_>) -> Duration {
        self.place_within.min(asker.patience / 3)
    }

    /// Whether one look-up more may begin, for this account.
    fn admit(self, under_way: &HashMap<String, UnderWay>, account: &str) -> Result<(), NoPlace> {
        let own = under_way.values().filter(|look_up| look_up.account == account).count();
        if own < share(self.places, under_way.len() - own) {
            return Ok(());
        }
        Err(if own > 0 { NoPlace::ForTheAccount(own) } else { NoPlace::ForAnybody(self.places) })
    }
}

/// The addresses of a name, once they have come.
pub type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// An answer is one for all who wait for it.
type Answer = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// The answer that will come.
type Coming = watch::Receiver<Option<Answer>>;

/// Asks for the addresses of a name. Cheap to clone; clones share their places.
///
/// The default is the system, because its `/etc/hosts` and search order are what operators expect of a name.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<Shared>);

struct Shared {
    ask: Box<dyn Fn(String) -> Addresses + Send + Sync>,
    bounds: Bounds,
    /// The look-ups that have not ended, by the name. Each has one place.
    under_way: Mutex<HashMap<String, UnderWay>>,
    place_given_back: Notify,
}

struct UnderWay {
    /// Who began it.
    account: String,
    since: Instant,
    answer: Coming,
}

/// Why there are no addresses.
#[derive(Debug)]
pub(crate) enum NoAddresses {
    /// Nobody was asked.
    NoPlace(NoPlace),
    /// The name has none, or does not tell them.
    Failed(Arc<io::Error>),
}

/// Nobody was asked for a name, because others are being asked for that do not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// Of other accounts too.
    #[error("{0} other names are being asked for and none of them is answered: is the name server well?")]
    ForAnybody(usize),
    /// Of this account alone.
    #[error(
        "{0} other names of the same account are being asked for and none of them is answered; no more than that could be asked \
         for besides, and these are left to other accounts"
    )]
    ForTheAccount(usize),
}

#[derive(Debug, thiserror::Error)]
#[error("the name was asked for {0} seconds ago, and no answer has come yet; it is not asked for again before that")]
struct Hopeless(u64);

impl Resolver {
    /// `ask` need not give up by itself: it goes on when nobody waits for it any more.
    pub(crate) fn new(bounds: Bounds, ask: impl Fn(String) -> Addresses + Send + Sync + 'static) -> Self {
        let (under_way, place_given_back) = Default::default();
        Self(Arc::new(Shared { ask: Box::new(ask), bounds, under_way, place_given_back }))
    }

    /// Asks on somebody's behalf, or waits for who has asked already. Each address comes with this port.
    ///
    /// # Errors
    /// When no place was found for it, the name has no address, or its last look-up does not end.
    pub(crate) async fn ask(&self, name: &str, port: u16, asker: Asker<'_>) -> Result<Vec<SocketAddr>, NoAddresses> {
        let mut answer = self.answer_to(name, asker).await?;
        let came = answer.wait_for(Option::is_some).await;
        let came = came.map_err(|_| NoAddresses::Failed(Arc::new(io::ErrorKind::Interrupted.into())))?;
        let mut addresses = came.clone().unwrap_or_else(|| Ok(Vec::new())).map_err(NoAddresses::Failed)?;
        addresses.iter_mut().for_each(|address| address.set_port(port));
        Ok(addresses)
    }

    /// Waits for a place as long as there is none.
    async fn answer_to(&self, name: &str, asker: Asker<'_>) -> Result<Coming, NoAddresses> {
        let until = Instant::now() + self.0.bounds.waits(asker);
        loop {
            // Before it looks, so that it hears of any place that is given back from then on.
            let given_back = self.0.place_given_back.notified();
            let answer = self.join_or_begin(name, asker);
            let is_full = matches!(answer, Err(NoAddresses::NoPlace(_)));
            if !is_full || timeout_at(until, given_back).await.is_err() {
                return answer;
            }
        }
    }

    /// Somebody is asked for the name, unless somebody is asked already.
    fn join_or_begin(&self, name: &str, asker: Asker<'_>) -> Result<Coming, NoAddresses> {
        let mut under_way = self.0.under_way();
        if let Some(there) = under_way.get(name) {
            let lasts = there.since.elapsed();
            // Whoever began it has given up. Who fails at once, and not at his own deadline, leaves his place in flight to
            // others.
            if lasts >= asker.patience {
                return Err(NoAddresses::Failed(Arc::new(io::Error::other(Hopeless(lasts.as_secs())))));
            }
            return Ok(there.answer.clone());
        }
        self.0.bounds.admit(&under_way, asker.account).map_err(NoAddresses::NoPlace)?;
        let (told, answer) = watch::channel(None);
        let begun = UnderWay { account: asker.account.to_owned(), since: Instant::now(), answer: answer.clone() };
        under_way.insert(name.to_owned(), begun);
        // A runtime that has ended drops what it is given, and with it the place.
        drop(under_way);
        tokio::spawn(Place { shared: self.0.clone(), name: name.to_owned() }.look_up(told));
        Ok(answer)
    }
}

impl Shared {
    fn under_way(&self) -> MutexGuard<'_, HashMap<String, UnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a look-up. Given back when it is dropped, also where its runtime has ended.
struct Place {
    shared: Arc<Shared>,
    name: String,
}

impl Place {
    /// A task of its own, because whoever waits for the answer may give up, and the thread that looks it up does not.
    async fn look_up(self, told: watch::Sender<Option<Answer>>) {
        let answer = (self.shared.ask)(self.name.clone()).await;
        // Before it is told, so that whoever has heard it and asks again is told anew.
        drop(self);
        told.send_replace(Some(answer.map_err(Arc::new)));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.under_way().remove(&self.name);
        self.shared.place_given_back.notify_waiters();
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(Bounds::default(), |name| {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}
