//! Who is asked for the addresses of a name, and how many names at once.
//!
//! The system's look-up (`getaddrinfo`) holds a thread for as long as it likes, also when nobody waits for it any more, and
//! a runtime has so many of them and no more. So look-ups have places, and each keeps its place until it has really ended.
//! Whoever asks for a name that is being asked for waits for that same answer: a name never has more than one place, and
//! those that never answer hold up nobody else until there are as many of them as places.
//!
//! It gives no time to live, and nothing here keeps an answer: once it is there, the next connection asks again.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};

/// How much is asked for, and waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Names that are asked for at once.
    pub(crate) places: usize,
    /// How long a place is waited for.
    pub(crate) place_within: Duration,
    /// A look-up that has lasted for so long is waited for by nobody new.
    pub(crate) hopeless_after: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // An eighth of the threads that a runtime has for such work, unless it is told otherwise.
            places: 64,
            // Names that answer free a place in no time, and the rest of a deadline is for the request.
            place_within: Duration::from_secs(5),
            // As long as an attempt may take by default: whoever began it has given up. Who fails at once, and not at his own
            // deadline, leaves his place in flight to others.
            hopeless_after: Duration::from_secs(15),
        }
    }
}

/// The addresses of a name, once they have come.
pub(crate) type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// An answer is one for all who wait for it.
type Answer = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// Asks for the addresses of a name. Cheap to clone; clones share their places.
///
/// The default is the system, because its `/etc/hosts` and search order are what operators expect of a name.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<Shared>);

struct Shared {
    ask: Box<dyn Fn(String) -> Addresses + Send + Sync>,
    bounds: Bounds,
    places: Semaphore,
    /// The look-ups that have not ended.
    under_way: Mutex<HashMap<String, UnderWay>>,
}

struct UnderWay {
    since: Instant,
    answer: watch::Receiver<Option<Answer>>,
}

/// Why a name was not asked for.
#[derive(Debug, thiserror::Error)]
enum Unasked {
    #[error(
        "the name was asked for {0} seconds ago, and no answer has come yet; it is not asked for again before that"
    )]
    Hopeless(u64),
    #[error("{0} other names are being asked for and none of them is answered: is the name server well?")]
    NoPlace(usize),
}

impl Resolver {
    /// `ask` need not give up by itself: it goes on when nobody waits for it any more.
    pub(crate) fn new(bounds: Bounds, ask: impl Fn(String) -> Addresses + Send + Sync + 'static) -> Self {
        let (places, under_way) = (Semaphore::new(bounds.places), Mutex::default());
        Self(Arc::new(Shared { ask: Box::new(ask), bounds, places, under_way }))
    }

    /// Asks, or waits for who has asked already. Each address comes with this port.
    ///
    /// # Errors
    /// When the name has no address, nobody could be asked, or its last look-up does not end.
    pub(crate) async fn ask(&self, name: &str, port: u16) -> Answer {
        let mut answer = self.answer_to(name)?;
        let came = answer.wait_for(Option::is_some).await.map_err(|_| Arc::new(io::ErrorKind::Interrupted.into()))?;
        let mut addresses = came.clone().unwrap_or_else(|| Ok(Vec::new()))?;
        addresses.iter_mut().for_each(|address| address.set_port(port));
        Ok(addresses)
    }

    /// The answer that will come; somebody is asked for it, unless somebody is asked already.
    fn answer_to(&self, name: &str) -> Result<watch::Receiver<Option<Answer>>, Arc<io::Error>> {
        match self.0.under_way().entry(name.to_owned()) {
            Entry::Occupied(there) => {
                let lasts = there.get().since.elapsed();
                if lasts >= self.0.bounds.hopeless_after {
                    return Err(Arc::new(io::Error::other(Unasked::Hopeless(lasts.as_secs()))));
                }
                Ok(there.get().answer.clone())
            }
            Entry::Vacant(vacant) => {
                let (told, answer) = watch::channel(None);
                vacant.insert(UnderWay { since: Instant::now(), answer: answer.clone() });
                tokio::spawn(self.0.clone().look_up(name.to_owned(), told));
                Ok(answer)
            }
        }
    }
}

impl Shared {
    /// A task of its own, because whoever waits for the answer may give up, and the thread that looks it up does not.
    async fn look_up(self: Arc<Self>, name: String, told: watch::Sender<Option<Answer>>) {
        let under_way = Ends { shared: &self, name: &name };
        let answer = match timeout(self.bounds.place_within, self.places.acquire()).await {
            Ok(_place) => (self.ask)(name.clone()).await,
            Err(_) => Err(io::Error::other(Unasked::NoPlace(self.bounds.places))),
        };
        // Before it is told, so that whoever has heard it and asks again is told anew.
        drop(under_way);
        told.send_replace(Some(answer.map_err(Arc::new)));
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, UnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a look-up, also one whose runtime has ended.
struct Ends<'l> {
    shared: &'l Shared,
    name: &'l str,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.shared.under_way().remove(self.name);
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
