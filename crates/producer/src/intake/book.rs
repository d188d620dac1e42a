//! What the door knows of the sources: the newest snapshot that a role with Postgres has published in Redis.
//!
//! Looking up never talks to Redis, but for one case: an id that the snapshot does not name may belong to a source that was
//! added a moment ago. It is unknown only once a read that began after the question has not found it. There is at most one
//! such read a second, which all who ask meanwhile wait for and share.

use std::{
    collections::HashMap,
    error::Error,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use queue::{Read, Redis, Snapshot, Snapshots, Version};
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};
use vocabulary::{MasterKey, Source, SourceId};

/// Longer than any restart of what publishes. After that a source may have been disabled without our knowing.
const FRESH_FOR: TimeDelta = TimeDelta::minutes(5);
/// Requests for ids that nobody has must not become reads of Redis.
const REREAD_EVERY: Duration = Duration::from_secs(1);
/// A read that takes longer would keep a request waiting that is probably nobody's.
const READ_DEADLINE: Duration = Duration::from_secs(2);
/// Who waits for a re-read holds a connection and memory, and may be a stranger who tries ids.
const MOST_WAITING: usize = 1_000;

/// What is known of a source.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// It exists and is enabled.
    Known(Arc<Source>),
    /// It does not exist, or is disabled.
    Unknown,
    /// Nobody can say: there is no snapshot, or none fresher than five minutes; or the snapshot does not name it and cannot
    /// be read again just now, or 1,000 lookups wait for that already.
    Stale,
}

/// The sources, as of the newest snapshot.
pub struct SourceBook {
    snapshots: Snapshots,
    master: MasterKey,
    page: RwLock<Option<Arc<Page>>>,
    /// Held while reading, so that an older answer never overtakes a newer one.
    reading: Mutex<()>,
    /// The last re-read for an unknown id. Held until the next one has ended, so that there is one at a time.
    reread: Mutex<Option<Reread>>,
    waiting: Semaphore,
    failing: AtomicBool,
}

#[derive(Clone, Copy)]
struct Reread {
    began: Instant,
    /// Whether Redis had a snapshot to show.
    read: bool,
}

#[derive(Clone)]
struct Page {
    version: Version,
    published_at: DateTime<Utc>,
    /// When we saw it being published, by our own clock: a publisher whose clock is minutes off is not stale.
    seen_at: DateTime<Utc>,
    sources: Arc<HashMap<SourceId, Arc<Source>>>,
}

impl Page {
    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        now - self.seen_at <= FRESH_FOR
    }

    /// When a snapshot was seen that says `published_at`, after this one.
    fn seen_again(&self, published_at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        if published_at == self.published_at { self.seen_at } else { now }
    }

    fn of(snapshot: Snapshot, before: Option<&Self>, now: DateTime<Utc>) -> Self {
        let Snapshot { version, published_at, sources } = snapshot;
        // The first that we see may have been lying there for long.
        let seen_at = before.map_or(published_at.min(now), |before| before.seen_again(published_at, now));
        let enabled = sources.into_iter().filter(|source| source.enabled);
        let sources = enabled.map(|source| (source.id.clone(), Arc::new(source))).collect();
        Self { version, published_at, seen_at, sources: Arc::new(sources) }
    }
}

impl SourceBook {
    /// An empty book: everything is [`Lookup::Stale`] until the first [`SourceBook::refresh`]. `master` opens the sources'
    /// secrets.
    pub fn new(redis: &Redis, master: MasterKey) -> Self {
        Self {
            snapshots: Snapshots::new(redis),
            master,
            page: RwLock::default(),
            reading: Mutex::default(),
            reread: Mutex::default(),
            waiting: Semaphore::new(MOST_WAITING),
            failing: AtomicBool::new(false),
        }
    }

    /// Reads the snapshot if there is a newer one. When Redis does not answer, the old one stays until it is stale.
    pub async fn refresh(&self, now: DateTime<Utc>) {
        self.read(now).await;
    }

    /// Whether there was a snapshot to read.
    async fn read(&self, now: DateTime<Utc>) -> bool {
        let _reading = self.reading.lock().await;
        let known = self.page().map(|page| page.version);
        let read = timeout(READ_DEADLINE, self.snapshots.read(&self.master, known)).await;
        match read {
            Ok(Ok(read)) => {
                if self.failing.swap(false, Relaxed) {
                    info!("the snapshot of the sources is readable again");
                }
                self.turn(read, now)
            }
            Ok(Err(error)) => self.fail(Some(&error)),
            Err(_) => self.fail(None),
        }
    }

    fn fail(&self, error: Option<&(dyn Error + 'static)>) -> bool {
        if !self.failing.swap(true, Relaxed) {
            warn!(error, "the snapshot of the sources cannot be read; the last one holds for five minutes");
        }
        false
    }

    /// Whether there is a new page.
    fn turn(&self, read: Read, now: DateTime<Utc>) -> bool {
        let before = self.page();
        let next = match (read, before.as_deref()) {
            (Read::Newer(snapshot), before) => Page::of(snapshot, before, now),
            (Read::Unchanged { published_at }, Some(before)) => {
                Page { seen_at: before.seen_again(published_at, now), published_at, ..before.clone() }
            }
            (Read::Unchanged { .. }, None) | (Read::Missing, _) => return false,
        };
        *self.page.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(next));
        true
    }

    /// Who `id` is. When the snapshot does not name it, waits for the next re-read: at most a second until that begins if
    /// Redis answers at once, and a few seconds if it does not.
    pub async fn lookup(&self, id: &SourceId, now: DateTime<Utc>) -> Lookup {
        match self.find(id, now) {
            // In a box of its own: what asks Redis takes more memory than all else that a request does, and nearly none gets here.
            Lookup::Unknown if Box::pin(self.reread(now)).await => self.find(id, now),
            Lookup::Unknown => Lookup::Stale,
            found => found,
        }
    }

    /// Whether there is a snapshot fresh enough to say who exists.
    pub fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        self.page().is_some_and(|page| page.is_fresh(now))
    }

    fn find(&self, id: &SourceId, now: DateTime<Utc>) -> Lookup {
        match self.page().filter(|page| page.is_fresh(now)) {
            None => Lookup::Stale,
            Some(page) => match page.sources.get(id) {
                Some(source) => Lookup::Known(source.clone()),
                None => Lookup::Unknown,
            },
        }
    }

    /// Whether the snapshot has been read since this was called: by this call, or by one of those that wait with it. At most a
    /// second passes until that begins, if Redis answers at once.
    pub async fn reread(&self, now: DateTime<Utc>) -> bool {
        let Ok(_waiting) = self.waiting.try_acquire() else { return false };
        let asked = Instant::now();
        let mut last = self.reread.lock().await;
        match *last {
            Some(last) if last.began >= asked => return last.read,
            Some(last) => sleep_until(last.began + REREAD_EVERY).await,
            None => {}
        }
        let began = Instant::now();
        let read = self.read(now).await;
        *last = Some(Reread { began, read });
        read
    }

    fn page(&self) -> Option<Arc<Page>> {
        self.page.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
