//! A group: whatever was ready at the same moment, claimed together, and (when all goes well) in one transaction; or in several, if
//! more of it is new than one should write. Duplicates cost a transaction little, so what is new fills it.
//!
//! Order: claim → the one transaction → the server has committed → `done`; once more for what others held and have not
//! committed by then; → settle. **The claim stops a duplicate early**, and only saves work; `transaction` stops it for good.
//!
//! What fails is split: work that Postgres refuses until the bad item stands alone and goes to quarantine; work that met
//! other transactions' locks in halves, then later. While Postgres is away everything is deferred, and nothing fails.

use std::{sync::Arc, time::Duration};

use database::{Database, Trouble};
use fail::fail_point;
use queue::{Claim, Claims, HeldId, Inbound, Owner, Run, Wake, Wanted};
use tokio::{sync::Notify, time::Instant};

use crate::{
    book::Book,
    counters::Counters,
    desk::Desk,
    fill::Fill,
    handling::{Handling, sort_out},
    pause::Pause,
    pieces::{At, Limits, Piece, Settled, defer, had_before, is_first, pieces, split},
    todo::Todo,
    transaction::{self, Failed},
    trust::Trust,
    unpack::{Outcome, Work},
};

/// Everything a group needs to be worked.
pub(crate) struct Bench {
    pub inbound: Inbound,
    pub claims: Claims,
    pub lease: Duration,
    pub database: Database,
    pub pause: Pause,
    pub wake: Arc<Notify>,
    pub wake_fleet: Wake,
    pub counters: Arc<Counters>,
    pub limits: Limits,
    /// How much of `limits.items` the next group is given.
    pub fill: Fill,
    /// Where what is owed goes, if it is sent from this process.
    pub desk: Option<Arc<dyn Desk>>,
    /// Who may want what, as transactions before this one have read it.
    pub book: Book,
    /// Whether what claims say is believed.
    pub trust: Trust,
    /// An app's own step, where there is one.
    pub handling: Option<Handling>,
}

/// A job that waits for a claim comes back after as long as it has waited already, and this is where that begins and ends:
/// whoever holds the claim is mostly done within milliseconds; or is dead, and the claim lasts for many seconds.
const SOONEST: Duration = Duration::from_millis(50);
/// One that met trouble in Postgres comes back after this at once.
const LATEST: Duration = Duration::from_secs(1);

/// What a round has left.
#[derive(Default)]
struct Round {
    /// What others hold the claims of.
    held: Vec<Piece>,
    /// How many items there were beside these, and how many keys of them that nobody had called done.
    items: usize,
    new: usize,
    /// Whether there was anything else, and all of it went well: so time has passed.
    has_committed: bool,
    /// Whether a transaction failed.
    met_trouble: bool,
}

/// What a round's transactions have come to.
#[derive(Default)]
struct Committed {
    /// Whether anything is due now.
    owes: bool,
    /// Whether one of them failed.
    met_trouble: bool,
}

impl Bench {
    /// Works a group to its end: every job in it is settled, or deferred.
    pub(crate) async fn work(&self, mut works: Vec<Work>) {
        self.counters.groups.add(1);
        let pieces = pieces(&works);
        let mut round = self.round(&mut works, pieces).await;
        self.fill.note(round.items, round.new);
        // Whoever held them is mostly done by now: another group of this worker, for one. It costs less to ask again than to
        // see a job again.
        if !round.held.is_empty() && round.has_committed {
            round = self.round(&mut works, round.held).await;
        }
        for piece in &round.held {
            self.counters.deferred.add(piece.items());
        }
        defer(&mut works, &round.held);
        self.give_back(&works, round.met_trouble).await;
    }

    /// Claims, commits, lets go. No claim is held when it ends.
    async fn round(&self, works: &mut [Work], mut pieces: Vec<Piece>) -> Round {
        let wanted = self.claim(works, &mut pieces).await;
        fail_point!("worker-after-claim");
        let mut held = take_held(works, &mut pieces);
        if pieces.is_empty() {
            return Round { held, ..Round::default() };
        }
        let items = pieces.iter().map(Piece::items).sum();
        let new = pieces.iter().filter(|piece| !piece.is_done()).count();
        let Committed { owes, met_trouble } = tokio::select! {
            biased;
            committed = self.commit(works, pieces, &mut held) => committed,
            never = self.keep(&wanted) => match never {},
        };
        if owes {
            self.announce().await;
        }
        fail_point!("worker-after-commit");
        self.let_go(works, &wanted).await;
        fail_point!("worker-after-done");
        Round { held, items, new, has_committed: !met_trouble, met_trouble }
    }

    /// Asks for the claim of every key, all at once; writes what Redis said beside the key.
    async fn claim(&self, works: &[Work], pieces: &mut [Piece]) -> Vec<(At, Wanted)> {
        let run = Run::random();
        let (mut leaders, mut wanted) = (Vec::new(), Vec::new());
        for piece in pieces.iter() {
            if let Piece::Key { places, .. } = piece
                && let Some(one) = want(works, places[0], run)
            {
                leaders.push(places[0]);
                wanted.push(one);
            }
        }
        let claims = self.claims.take(&wanted).await;
        let keys = pieces.iter_mut().filter_map(|piece| match piece {
            Piece::Key { claim, .. } => Some(claim),
            Piece::Rejection(_) | Piece::Empty { .. } => None,
        });
        for (claim, said) in keys.zip(&claims) {
            *claim = *said;
        }
        self.counters.claims_unanswered.add(claims.iter().filter(|claim| **claim == Claim::Unanswered).count());
        let held = |claim: &Claim| matches!(claim, Claim::Won | Claim::TakenOver | Claim::Unanswered);
        let asked = leaders.into_iter().zip(wanted).zip(claims);
        asked.filter(|(_, claim)| held(claim)).map(|(wanted, _)| wanted).collect()
    }

    /// Tells whoever sends that something is due.
    async fn announce(&self) {
        self.wake.notify_one();
        self.wake_fleet.announce().await;
    }

    /// Commits the pieces, as many at a time as the limits allow; and takes out of `held` what its holders turn out to have
    /// committed.
    async fn commit(&self, works: &mut [Work], pieces: Vec<Piece>, held: &mut Vec<Piece>) -> Committed {
        let mut todo = Todo::new(self, works, pieces);
        let (mut committed, mut looks_for_held) = (Committed::default(), !held.is_empty());
        while let Some(mut chunk) = todo.next(works) {
            let awaited = if looks_for_held { held.as_slice() } else { &[] };
            match self.try_commit(works, &chunk, awaited).await {
                Ok(settled) => {
                    chunk.extend(held.extract_if(.., |piece| settled.knows(piece)));
                    // The next one may take long.
                    if settled.owes && (self.handling.is_some() || !todo.is_empty()) {
                        self.announce().await;
                    } else {
                        committed.owes |= settled.owes;
                    }
                    self.note(works, &chunk, settled);
                    if !todo.is_empty() {
                        fail_point!("worker-between-commits");
                        self.has_places().await;
                    }
                }
                // What fails is split until one piece is left, and that is refused: not for what was only looked for.
                Err(Failed::Postgres(Trouble::Work | Trouble::Unknown) | Failed::Handlers(_)) if looks_for_held => {
                    looks_for_held = false;
                    todo.put_back([chunk]);
                }
                // Somebody has had one of its jobs or keys all the same: a Redis that came back from an earlier state, or
                // has forgotten a key by now, or a worker whose word did not reach Redis.
                Err(Failed::Postgres(Trouble::Stale)) if looks_for_held || is_first(works, &chunk) => {
                    looks_for_held = false;
                    self.trust.lose(Instant::now());
                    had_before(works, &chunk);
                    todo.put_back([chunk]);
                }
                Err(Failed::Handler(failures)) => todo.put_back(failures.sort_out(works, chunk, self)),
                Err(Failed::Handlers(words)) => todo.put_back(sort_out(works, chunk, &words, self)),
                Err(Failed::Postgres(Trouble::Outage | Trouble::Schema)) => {
                    committed.met_trouble = true;
                    self.pause.until_back();
                    todo.put_back([chunk]);
                    todo.defer(works);
                }
                Err(Failed::Postgres(trouble)) => {
                    committed.met_trouble = true;
                    todo.put_back(split(works, chunk, trouble));
                }
            }
        }
        committed
    }

    /// What cannot be sent now would have to be found again later.
    pub(crate) async fn has_places(&self) {
        if let Some(desk) = &self.desk {
            desk.has_places().await;
        }
    }

    async fn try_commit(&self, works: &[Work], chunk: &[Piece], awaited: &[Piece]) -> Result<Settled, Failed<Trouble>> {
        let mut connection = self.database.connection().await.map_err(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "Postgres gives no connection: workers pause");
            Failed::Postgres(Trouble::Outage)
        })?;
        let error = match transaction::commit(&mut connection, works, chunk, awaited, self).await {
            Ok(settled) => {
                self.counters.transactions.add(1);
                return Ok(settled);
            }
            Err(Failed::Handler(failures)) => return Err(Failed::Handler(failures)),
            Err(Failed::Handlers(words)) => return Err(Failed::Handlers(words)),
            Err(Failed::Postgres(error)) => error,
        };
        let trouble = self.database.trouble(&error);
        let (error, pieces) = (&error as &dyn std::error::Error, chunk.len());
        if trouble == Trouble::Stale {
            self.counters.transactions_again.add(1);
            tracing::debug!(
                error,
                pieces,
                "the ledger has what was taken to be new: it is looked up, and the rest made again"
            );
        } else {
            self.counters.transactions_failed.add(1);
            tracing::warn!(error, ?trouble, pieces, "a transaction failed");
        }
        Err(Failed::Postgres(trouble))
    }

    /// Writes down what a transaction has settled.
    fn note(&self, works: &mut [Work], chunk: &[Piece], settled: Settled) {
        let counters = &self.counters;
        counters.committed.add(settled.fresh);
        counters.claims_false_done.add(settled.false_done);
        for piece in chunk {
            let Piece::Key { claim, places, .. } = piece else { continue };
            for at in places {
                let by_claim = *claim == Claim::Done || *at != places[0];
                match settled.outcomes.get(at) {
                    Some(Outcome::Duplicate) if by_claim => counters.duplicates_by_claim.add(1),
                    Some(Outcome::Duplicate) => counters.duplicates_by_ledger.add(1),
                    _ => {}
                }
            }
        }
        let of = |outcome| settled.outcomes.values().filter(|known| **known == outcome).count();
        counters.quarantined.add(of(Outcome::Quarantined));
        counters.repeated.add(of(Outcome::Committed).saturating_sub(settled.fresh));
        had_before(works, chunk);
        for (at, outcome) in settled.outcomes {
            works[at.job].raw_events[at.raw].items[at.place].outcome = outcome;
        }
    }

    /// Renews the claims while the work goes on, until its deadline of two leases. Then others may have them: the ledger
    /// decides.
    async fn keep(&self, wanted: &[(At, Wanted)]) -> std::convert::Infallible {
        for _ in 0..5 {
            tokio::time::sleep(self.lease / 3).await;
            let wanted: Vec<_> = wanted.iter().map(|(_, wanted)| wanted).collect();
            self.claims.renew(&wanted).await;
        }
        std::future::pending().await
    }

    /// Releases what is not committed for others, or for this job's next run, and then marks the rest as done.
    async fn let_go(&self, works: &[Work], wanted: &[(At, Wanted)]) {
        let is_done = |at: &At| {
            let outcome = works[at.job].raw_events[at.raw].items[at.place].outcome;
            matches!(outcome, Outcome::Committed | Outcome::Duplicate)
        };
        let (done, not): (Vec<_>, Vec<_>) = wanted.iter().partition(|(at, _)| is_done(at));
        let done: Vec<_> = done.into_iter().map(|(_, wanted)| wanted).collect();
        let not: Vec<_> = not.into_iter().map(|(_, wanted)| wanted).collect();
        // What could not be released would be called done with the rest. It ends with the lease, as the rest does then.
        if let Some(refused) = self.claims.release(&not).await {
            self.counters.claims_refused.add(refused);
            self.claims.finish(&done).await;
        }
    }

    /// Settles the jobs that are done with, and defers the others; of a job of several raw events, what is left of it. What
    /// Redis does not take stays in flight, and is run again when this worker is gone or the queue gives it out anew: it
    /// adds nothing twice.
    async fn give_back(&self, works: &[Work], met_trouble: bool) {
        let (done, not): (Vec<_>, Vec<_>) = works.iter().partition(|work| work.is_settled());
        let done: Vec<HeldId> = done.iter().map(|work| work.held.clone()).collect();
        let (partly, not): (Vec<_>, Vec<_>) = not.into_iter().partition(|work| work.is_partly_settled());
        let not: Vec<(HeldId, Duration)> =
            not.iter().map(|work| (work.held.clone(), pause(work, met_trouble))).collect();
        let settle = async { if done.is_empty() { Ok(()) } else { self.inbound.settle(&done).await.map(drop) } };
        let defer = async { if not.is_empty() { Ok(()) } else { self.inbound.defer(&not).await } };
        let defer_rest = async {
            for work in partly {
                self.inbound.defer_rest(&work.held, work.rest(), pause(work, met_trouble)).await?;
            }
            Ok(())
        };
        let (settled, deferred, rest_deferred) = tokio::join!(settle, defer, defer_rest);
        for error in [settled, deferred, rest_deferred].into_iter().filter_map(Result::err) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, jobs = works.len(), "not all jobs could be settled or deferred");
        }
    }
}

/// With jitter, so that many who were put off together do not come back together.
fn pause(work: &Work, met_trouble: bool) -> Duration {
    let pause = if met_trouble || work.put_off { LATEST } else { work.waited.clamp(SOONEST, LATEST) };
    pause.mul_f64(rand::random_range(1.0..2.0))
}

fn want(works: &[Work], leader: At, run: Run) -> Option<Wanted> {
    let raw = &works[leader.job].raw_events[leader.raw];
    let event = raw.items[leader.place].item.as_ref().ok()?;
    fail_point!(&format!("worker-claims-{}", raw.raw_event.source_id));
    let owner = Owner::of(&raw.stamp, run);
    Some(Wanted { source: raw.raw_event.source_id.clone(), key: event.key.clone(), owner })
}

/// Takes out what another worker holds, with its followers; unless a job has been put off for so long that it goes on without
/// the claim.
fn take_held(works: &[Work], pieces: &mut Vec<Piece>) -> Vec<Piece> {
    let waits = |piece: &mut Piece| {
        let Piece::Key { claim: Claim::Held, places, .. } = piece else { return false };
        !places.iter().any(|at| works[at.job].out_of_patience)
    };
    pieces.extract_if(.., waits).collect()
}
