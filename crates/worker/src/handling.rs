//! How an app's handler is run, and what becomes of the events for which it failed.
//!
//! Each call has a savepoint. Does one fail, the transaction is rolled back all the same, for what is recorded of the event
//! stands in it; but what a failed call takes along is its own changes only, so that one run finds all who fail, and the
//! next commits their mates. Who failed goes to quarantine, or comes later.
//!
//! **Who is slow is alone.** What overruns its deadline comes later, in a transaction of its own; if it overruns there too it
//! goes to quarantine. One try would be too few: a lock, or a busy Postgres, makes anybody slow. For ever would be too many:
//! while it runs its source waits. All calls of a transaction have a budget as well. What is not reached by then is left to
//! the next one, and transactions are made as small as they must be.

use std::{
    any::Any,
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use database::{
    AsyncPgConnection, QueryError, QueryResult,
    handling::{self, Undone},
};
use futures::FutureExt;
use tokio::time::{Instant, timeout};
use vocabulary::{Key, KeyHash};

use crate::{
    group::Bench,
    handler::{HandledEvent, Handler, HandlerError},
    news::News,
    pieces::{Limits, Piece, chunks, defer, refuse},
    transaction::Failed,
    unpack::Work,
    worker::Settings,
};

/// Others wait two seconds for the counter of a source, then come later themselves.
const LONGEST: Duration = Duration::from_millis(1500);

/// When more events than this were slow, all of them are forgotten: each is slow beside others once more.
const SLOW: usize = 10_000;

/// A handler, and what this process has learned of it.
pub(crate) struct Handling {
    handler: Arc<dyn Handler>,
    deadline: Duration,
    budget: Duration,
    /// Events that have overrun their deadline once.
    slow: Mutex<HashSet<KeyHash>>,
    /// How many items a transaction may have for its calls to stay within the budget.
    pace: AtomicUsize,
}

/// The events of a transaction for which the handler failed, and those that it did not get to.
pub(crate) struct Failures {
    failed: HashMap<KeyHash, Failure>,
    left: HashSet<KeyHash>,
}

#[derive(Debug)]
enum Failure {
    /// To quarantine, with these words.
    Refused(String),
    /// The event comes later.
    Later,
}

impl From<HandlerError> for Failure {
    fn from(error: HandlerError) -> Self {
        match error {
            HandlerError::Refused(words) => Self::Refused(words),
            HandlerError::Later(words) => {
                tracing::warn!(words, "a handler is not ready for an event: it comes later");
                Self::Later
            }
        }
    }
}

impl Handling {
    pub(crate) fn of(settings: &Settings) -> Option<Self> {
        Some(Self {
            handler: settings.handler.clone()?,
            deadline: settings.handler_deadline.min(LONGEST),
            budget: settings.handler_budget.min(LONGEST),
            slow: Mutex::default(),
            pace: AtomicUsize::new(settings.group_items),
        })
    }

    /// Runs the handler for each new event of a transaction.
    pub(crate) async fn run(&self, conn: &AsyncPgConnection, news: &News<'_>) -> Result<(), Failed<QueryError>> {
        let mut events = news.handled();
        let (count, began) = (events.len(), Instant::now());
        if count == 0 {
            return Ok(());
        }
        handling::begin(conn, self.deadline).await?;
        let mut failed = HashMap::new();
        for (hash, event) in events.by_ref() {
            let (failure, undone) = self.call(conn, hash, &event).await?;
            failed.extend(failure.map(|failure| (hash, failure)));
            if undone == Undone::Gone || began.elapsed() > self.budget {
                break;
            }
        }
        let left: HashSet<_> = events.map(|(hash, _)| hash).collect();
        self.keep_pace(count - left.len(), began.elapsed());
        if failed.is_empty() && left.is_empty() {
            return Ok(handling::end(conn).await?);
        }
        Err(Failed::Handler(Failures { failed, left }))
    }

    /// Calls it for one event. Says how it failed, if it did; and whether the transaction is still there.
    async fn call(
        &self,
        conn: &AsyncPgConnection,
        hash: KeyHash,
        event: &HandledEvent<'_>,
    ) -> QueryResult<(Option<Failure>, Undone)> {
        let began = Instant::now();
        let handled = AssertUnwindSafe(async { self.handler.handle(conn, event).await }).catch_unwind();
        let failure = match timeout(self.deadline, handled).await {
            Ok(Ok(Ok(()))) => match handling::next(conn).await {
                Ok(()) => return Ok((None, Undone::Whole)),
                Err(_) => Failure::Refused("one of its statements failed, and it went on".to_owned()),
            },
            Ok(Err(panic)) => Failure::Refused(format!("it panicked: {}", said(&*panic))),
            // Postgres breaks its statements off after as long, and it may be that which we hear first.
            Ok(Ok(Err(error))) if began.elapsed() < self.deadline => error.into(),
            Ok(Ok(Err(_))) | Err(_) => self.overran(hash),
        };
        Ok(match handling::undo(conn).await? {
            Undone::Whole => (Some(failure), Undone::Whole),
            Undone::Gone => {
                let words = "it ended the transaction that it runs in, by COMMIT or ROLLBACK".to_owned();
                (Some(Failure::Refused(words)), Undone::Gone)
            }
        })
    }

    /// An event has overrun its deadline: for the first time, or again.
    fn overran(&self, hash: KeyHash) -> Failure {
        let mut slow = self.slow();
        if slow.remove(&hash) {
            let ms = self.deadline.as_millis();
            return Failure::Refused(format!("it took longer than {ms} ms, beside others and alone"));
        }
        if slow.len() >= SLOW {
            slow.clear();
        }
        slow.insert(hash);
        Failure::Later
    }

    fn slow(&self) -> MutexGuard<'_, HashSet<KeyHash>> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many items a transaction may have, from what came of the last one.
    fn keep_pace(&self, handled: usize, took: Duration) {
        let pace = self.pace.load(Ordering::Relaxed);
        if took > self.budget {
            self.pace.store((handled / 2).max(1), Ordering::Relaxed);
        } else if took < self.budget / 4 && handled >= pace / 2 {
            self.pace.store(pace.saturating_mul(2), Ordering::Relaxed);
        }
    }

    /// Cuts pieces into transactions: small enough for the budget, and what was slow before alone, in the end.
    pub(crate) fn cut(&self, works: &[Work], mut pieces: Vec<Piece>, limits: Limits) -> Vec<Vec<Piece>> {
        let was_slow = |piece: &mut Piece| matches!(piece, Piece::Key { hash, .. } if self.slow().contains(hash));
        let alone: Vec<_> = pieces.extract_if(.., was_slow).map(|piece| vec![piece]).collect();
        let items = limits.items.min(self.pace.load(Ordering::Relaxed));
        let mut todo = chunks(works, pieces, Limits { items, ..limits });
        todo.retain(|chunk| !chunk.is_empty());
        todo.extend(alone);
        todo
    }
}

impl Failures {
    /// What is to be committed in the place of a transaction whose handler failed, the last first.
    pub(crate) fn sort_out(mut self, works: &mut [Work], chunk: Vec<Piece>, bench: &Bench) -> Vec<Vec<Piece>> {
        let (mut left, mut well, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for piece in chunk {
            let Piece::Key { hash, places, .. } = &piece else {
                well.push(piece);
                continue;
            };
            match self.failed.remove(hash) {
                None if self.left.contains(hash) => left.push(piece),
                None => well.push(piece),
                Some(Failure::Refused(words)) => {
                    bench.counters.handler_refused.add(1);
                    refused.extend(refuse(works, places.clone(), "handler", |key| why(key, &words)));
                }
                Some(Failure::Later) => {
                    bench.counters.handler_later.add(1);
                    places.iter().for_each(|at| works[at.job].put_off = true);
                    defer(works, &[piece]);
                }
            }
        }
        let mut todo = bench.cut(works, left);
        todo.reverse();
        todo.extend([well, refused]);
        todo.retain(|chunk| !chunk.is_empty());
        todo
    }
}

fn why(key: &Key, words: &str) -> String {
    format!("the handler refuses {}: {words}: mend what is wrong, then replay", key.as_str().escape_debug())
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}
