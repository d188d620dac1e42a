//! The one transaction. **This is where a duplicate is stopped for good**: by the ledger's unique constraint.
//!
//! Three steps, each one round trip, because what is asked together is sent together:
//!
//! 1. *look up*: hold the counters of the sources, then see which keys the ledger has, of those that a claim does not say are
//!    new (`trust`), and of those of the same sources whose claims others hold: they have mostly committed by then;
//! 2. *read*: the messages that the others are about, unless they came with them; what waited for them, and who is to be told;
//! 3. *write*: everything that is new, each row once.
//!
//! The order in which locks are taken is the same everywhere, so that two transactions wait for each other and never lock
//! each other out: one counter row per source, sorted → ledger keys, sorted → messages, sorted, each once → deliveries →
//! receipts. The counters come first because a row of the ledger is then written once, with its place in the sequence; what
//! is in the ledger of a source changes under its counter only, so the look-up holds to COMMIT. Should it not (a row that
//! came some other way), or should a claim be wrong, the constraint says so, and the transaction is tried again.
//!
//! An app's own step comes last: it sees what is written, and the app's tables may refer to `events`.
//!
//! Nothing in here talks to anybody but Postgres.

use std::collections::{BTreeSet, HashMap};

use database::{
    AsyncPgConnection, Connection, QueryError, QueryResult, events,
    quarantine::{self, Rejected},
    sequences,
};
use diesel_async::AsyncConnection;
use fail::fail_point;
use futures::{join, try_join};
use queue::Claim;
use tokio::time::Instant;
use vocabulary::{KeyHash, Stamp};

use crate::{
    desk::Places,
    group::Bench,
    handling::{Failures, blame},
    news::{Fresh, News, root_cause},
    pieces::{At, Piece, Settled},
    receipt,
    unpack::{Outcome, RawWork, Work},
};

struct Group<'a> {
    works: &'a [Work],
    pieces: &'a [Piece],
    /// What others hold the claims of. It is settled if they have committed it, and else left alone.
    awaited: &'a [Piece],
    /// Whether claims are believed.
    trusts: bool,
}

/// Why a transaction was rolled back.
pub(crate) enum Failed<E> {
    /// Postgres.
    Postgres(E),
    /// An app's handler, for some of the events.
    Handler(Failures),
    /// Postgres, on account of what the app's handler did for one of the events or more. It does not say for which.
    Handlers(String),
}

impl From<QueryError> for Failed<QueryError> {
    fn from(error: QueryError) -> Self {
        Self::Postgres(error)
    }
}

/// The one transaction: everything that these pieces make true, or nothing; and of what is awaited, what is true by now. What
/// it owes goes over the desk, as far as there are places, once it has committed.
///
/// That COMMIT has returned means that the server has committed. PostgreSQL answers ROLLBACK to the COMMIT of a
/// transaction in which a statement had failed; here each statement's failure ends the closure with an error, and the
/// transaction is then rolled back, not committed.
pub(crate) async fn commit(
    connection: &mut Connection,
    works: &[Work],
    pieces: &[Piece],
    awaited: &[Piece],
    bench: &Bench,
) -> Result<Settled, Failed<QueryError>> {
    let group = Group { works, pieces, awaited, trusts: bench.trust.is_kept(Instant::now()) };
    let mut places = Places::at(bench.desk.as_ref());
    let mut handled = false;
    let (settled, handed) = connection
        .transaction(async |conn| {
            let mut settled = Settled::default();
            let ledger = group.look_up(conn).await?;
            let fresh = group.judge(&ledger, &mut settled);
            let news = News::read(conn, fresh, &ledger.counters, &bench.book).await?;
            let owed = news.owe(&mut places);
            settled.owes = news.leaves_something_due(&owed);
            let accounts = async {
                group.keep_rejected(conn).await?;
                let come = awaited.iter().filter(|piece| settled.knows(piece));
                receipt::write(conn, works, pieces.iter().chain(come), &settled).await
            };
            let (told, accounted) = join!(news.write(conn, &owed, places.lease()), accounts);
            root_cause([told, accounted])?;
            if let Some(handling) = &bench.handling {
                let guard = handling.run(conn, &news).await?;
                handled = guard.is_some();
                if let Some(guard) = guard {
                    handling.end(conn, guard).await?;
                }
            }
            fail_point!("worker-in-transaction");
            Ok::<_, Failed<QueryError>>((settled, news.handed(&owed)))
        })
        .await
        .map_err(|failed| match failed {
            Failed::Postgres(error) if handled => blame(error),
            failed => failed,
        })?;
    places.hand_over(handed);
    Ok(settled)
}

/// What the ledger has of a group's keys, and its sources' counters, held to COMMIT.
struct Ledger {
    counters: HashMap<String, i64>,
    /// Which raw event committed each key that is there.
    committers: HashMap<KeyHash, Stamp>,
}

impl<'a> Group<'a> {
    fn raw(&self, at: At) -> &'a RawWork {
        &self.works[at.job].raw_events[at.raw]
    }

    fn keys(&self) -> impl Iterator<Item = (KeyHash, Claim, &'a [At])> {
        self.pieces.iter().filter_map(key)
    }

    fn source(&self, places: &[At]) -> &'a str {
        self.raw(places[0]).raw_event.source_id.as_str()
    }

    /// Holds the counters, then sees which keys are there. Sent together all the same: a statement sees what was committed
    /// while the one before it waited.
    async fn look_up(&self, conn: &AsyncPgConnection) -> QueryResult<Ledger> {
        let sources: BTreeSet<_> = self.keys().map(|(.., places)| self.source(places)).collect();
        if sources.is_empty() {
            return Ok(Ledger { counters: HashMap::new(), committers: HashMap::new() });
        }
        let doubtful = self.keys().filter(|(_, claim, places)| !self.is_believed(*claim, places));
        let awaited = self.awaited.iter().filter_map(key).filter(|(.., places)| sources.contains(self.source(places)));
        let hashes: Vec<_> = doubtful.chain(awaited).map(|(hash, ..)| hash).collect();
        let (held, mut committers) = try_join!(sequences::hold(conn, &sources), events::committed_by(conn, &hashes))?;
        if held.made {
            committers = events::committed_by(conn, &hashes).await?;
        }
        Ok(Ledger { counters: held.last, committers })
    }

    /// Whether a key needs no look-up: nobody had it before, as far as anybody knows. Of one whose claim was taken over an
    /// earlier run may have committed it.
    fn is_believed(&self, claim: Claim, places: &[At]) -> bool {
        self.trusts && claim == Claim::Won && places.iter().all(|at| self.works[at.job].is_first(at.raw))
    }

    /// What becomes of each item. It is committed if its own raw event commits its key, and it is the first there with it;
    /// else a duplicate. Gives the items whose keys the ledger does not have.
    fn judge(&self, ledger: &Ledger, settled: &mut Settled) -> Vec<Fresh<'a>> {
        let mut fresh = Vec::new();
        let awaited = self.awaited.iter().filter_map(key).filter(|(hash, ..)| ledger.committers.contains_key(hash));
        for (hash, claim, places) in self.keys().chain(awaited) {
            let leader = self.raw(places[0]);
            let committer = ledger.committers.get(&hash);
            if committer.is_none() {
                settled.false_done += usize::from(claim == Claim::Done);
                let event = leader.items[places[0].place].item.as_ref();
                let is_believed = self.is_believed(claim, places);
                fresh.extend(event.ok().map(|event| Fresh { hash, raw: leader, event, is_believed }));
            }
            let is_there = committer.is_some();
            let committer = committer.unwrap_or(&leader.stamp);
            let own = places.iter().find(|at| self.raw(**at).stamp == *committer);
            settled.is_again |= is_there && own.is_some();
            for at in places {
                let outcome = if Some(at) == own { Outcome::Committed } else { Outcome::Duplicate };
                settled.outcomes.insert(*at, outcome);
            }
        }
        for piece in self.pieces {
            if let Piece::Rejection(at) = piece {
                settled.outcomes.insert(*at, Outcome::Quarantined);
            }
        }
        settled.fresh = fresh.len();
        fresh
    }

    async fn keep_rejected(&self, conn: &AsyncPgConnection) -> QueryResult<()> {
        let rejections = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Rejection(at) => self.rejected(*at),
            Piece::Key { .. } | Piece::Empty { .. } => None,
        });
        let rows: Vec<_> = rejections.collect();
        if rows.is_empty() { Ok(()) } else { quarantine::put(conn, &rows).await.map(drop) }
    }

    fn rejected(&self, at: At) -> Option<Rejected<'a>> {
        let RawWork { stamp, raw_event, items, .. } = self.raw(at);
        let place = &items[at.place];
        let rejection = place.item.as_ref().err()?;
        Some(Rejected { stamp, raw_event, item: place.index, rejection })
    }
}

fn key(piece: &Piece) -> Option<(KeyHash, Claim, &[At])> {
    match piece {
        Piece::Key { hash, claim, places } => Some((*hash, *claim, places.as_slice())),
        Piece::Rejection(_) | Piece::Empty { .. } => None,
    }
}
