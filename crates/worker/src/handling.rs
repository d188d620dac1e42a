//! How an app's handler is run, and what becomes of the events for which it failed.
//!
//! Each call has a savepoint. Does one fail, the transaction is rolled back all the same, for what is recorded of the event
//! stands in it; but what a failed call takes along is its own changes only, so that one run finds all who fail, and the
//! next commits their mates. Who failed goes to quarantine, or comes later.
//!
//! What Postgres refuses after all calls, for it was deferred to COMMIT, is the handlers' too. It does not say whose: so the
//! transaction is split until one of them fails alone.
//!
//! **Who is slow is alone.** What overruns its deadline comes later, in a transaction of its own; if it overruns there too it
//! goes to quarantine. One try would be too few: a busy Postgres makes anybody slow. For ever would be too many: while it
//! runs its source waits. All calls of a transaction have a budget as well. What is not reached by then is left to the next
//! one, and transactions are made as small as they must be. What becomes of others meanwhile is in `slow`.

use std::{
    any::Any,
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use database::{
    AsyncPgConnection, QueryError, QueryResult, Trouble,
    handling::{Guard, Undone},
};
use futures::FutureExt;
use tokio::time::{Instant, timeout};
use vocabulary::{Key, KeyHash};

use crate::{
    group::Bench,
    handler::{HandledEvent, Handler, HandlerError},
    news::News,
    pieces::{Limits, Piece, defer, refuse, split},
    slow::Slow,
    transaction::Failed,
    unpack::Work,
    worker::Settings,
};

/// Others wait two seconds for the counter of a source, then come later themselves.
const LONGEST: Duration = Duration::from_millis(1500);

/// Of a handler that has ended the transaction that it runs in.
const ENDED: &str = "it ended the transaction that it runs in, by COMMIT or ROLLBACK";

/// A handler, and what this process has learned of it.
pub(crate) struct Handling {
    handler: Arc<dyn Handler>,
    deadline: Duration,
    budget: Duration,
    /// Whose calls are slow.
    pub(crate) slow: Slow,
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
            slow: Slow::new(settings.handler_budget.min(LONGEST)),
            pace: AtomicUsize::new(settings.transaction_items),
        })
    }

    /// Runs the handler for each new event of a transaction, if there is any. Gives what COMMIT has to be asked of.
    pub(crate) async fn run(
        &self,
        conn: &AsyncPgConnection,
        news: &News<'_>,
    ) -> Result<Option<Guard>, Failed<QueryError>> {
        let mut events = news.handled();
        let (count, began, mut is_slow) = (events.len(), Instant::now(), false);
        if count == 0 {
            return Ok(None);
        }
        let guard = Guard::begin(conn, self.deadline).await?;
        let mut failed = HashMap::new();
        for (hash, event) in events.by_ref() {
            let called = Instant::now();
            let (failure, undone) = self.call(conn, &guard, hash, &event).await?;
            is_slow |= self.slow.took(event.source_id, called.elapsed(), Instant::now());
            failed.extend(failure.map(|failure| (hash, failure)));
            if undone == Undone::Gone || began.elapsed() > self.budget {
                break;
            }
        }
        let left: HashSet<_> = events.map(|(hash, _)| hash).collect();
        // What is slow has a pace of its own.
        if !is_slow {
            self.keep_pace(count - left.len(), began.elapsed());
        }
        if failed.is_empty() && left.is_empty() {
            return Ok(Some(guard));
        }
        Err(Failed::Handler(Failures { failed, left }))
    }

    /// After all calls: has Postgres check what they have deferred to COMMIT, and allows COMMIT.
    pub(crate) async fn end(&self, conn: &AsyncPgConnection, guard: Guard) -> Result<(), Failed<QueryError>> {
        let began = Instant::now();
        match guard.end(conn).await {
            Ok(Undone::Whole) => Ok(()),
            Ok(Undone::Gone) => Err(Failed::Handlers(ENDED.to_owned())),
            Err(error) if began.elapsed() >= self.deadline => Err(Failed::Handlers(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Calls it for one event. Says how it failed, if it did; and whether the transaction is still there.
    async fn call(
        &self,
        conn: &AsyncPgConnection,
        guard: &Guard,
        hash: KeyHash,
        event: &HandledEvent<'_>,
    ) -> QueryResult<(Option<Failure>, Undone)> {
        let began = Instant::now();
        let handled = AssertUnwindSafe(async { self.handler.handle(conn, event).await }).catch_unwind();
        let failure = match timeout(self.deadline, handled).await {
            Ok(Ok(Ok(()))) => match guard.next(conn).await {
                Ok(()) => return Ok((None, Undone::Whole)),
                Err(_) => Failure::Refused("one of its statements failed, and it went on".to_owned()),
            },
            Ok(Err(panic)) => Failure::Refused(format!("it panicked: {}", said(&*panic))),
            // Postgres breaks its statements off after as long, and it may be that which we hear first.
            Ok(Ok(Err(error))) if began.elapsed() < self.deadline => error.into(),
            Ok(Ok(Err(_))) | Err(_) => self.overran(hash),
        };
        Ok(match guard.undo(conn).await? {
            Undone::Whole => (Some(failure), Undone::Whole),
            Undone::Gone => (Some(Failure::Refused(ENDED.to_owned())), Undone::Gone),
        })
    }

    /// An event has overrun its deadline: for the first time, or again.
    fn overran(&self, hash: KeyHash) -> Failure {
        if self.slow.overran(hash) {
            let ms = self.deadline.as_millis();
            return Failure::Refused(format!("it took longer than {ms} ms, beside others and alone"));
        }
        Failure::Later
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

    /// How much one transaction takes on for its calls to stay within the budget.
    pub(crate) fn limits(&self, limits: Limits) -> Limits {
        Limits { new: limits.new.min(self.pace.load(Ordering::Relaxed)), ..limits }
    }
}

/// Judges what Postgres says after all calls. It is the handlers' unless it passes: what latchhook writes was written before.
pub(crate) fn blame(error: QueryError) -> Failed<QueryError> {
    match HandlerError::of(&error) {
        HandlerError::Refused(words) => Failed::Handlers(words),
        HandlerError::Later(_) => Failed::Postgres(error),
    }
}

/// What is to be committed in the place of a transaction that was refused on account of some handler, the last first.
pub(crate) fn sort_out(works: &mut [Work], chunk: Vec<Piece>, words: &str, bench: &Bench) -> Vec<Vec<Piece>> {
    let [Piece::Key { places, .. }] = chunk.as_slice() else { return split(works, chunk, Trouble::Unknown) };
    bench.counters.handler_refused.add(1);
    vec![refuse(works, places.clone(), "handler", |key| why(key, words))]
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
        vec![left, well, refused]
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
