//! What can happen next, in the inbound half.

use super::{
    Inbound,
    flaw::Flaw,
    state::{Claim, Item, KEYS, Orphan, Place, RAW_EVENTS, Run, Said, State, Token, WORKERS, Word},
};

/// One indivisible step: a command of Redis, a statement of Postgres, or a mishap. First who, then which key or raw event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// A worker takes raw events that are ready.
    Fetch(usize, [bool; RAW_EVENTS]),
    /// Wins what is nobody's, takes over what an earlier run of the same raw event has; what another holds is deferred.
    Take(usize, usize),
    /// The same, out of patience: what another holds is worked on without its claim.
    TakeImpatiently(usize, usize),
    /// Redis is not heard in time; whether it did as it was told is unknown.
    ClaimUnanswered { worker: usize, key: usize, done: bool },
    /// Makes the lease full again, or anew.
    Renew(usize),
    /// The look at the ledger, and the `INSERT` of what is not there.
    Enter(usize, usize),
    /// The `INSERT` of a key that was not looked up, because its claim was won, meets one that is there. Postgres ends the
    /// transaction, and all of it is tried again.
    IsThere(usize, usize),
    /// The look at the ledger finds what another held, and has committed by now.
    HasCome(usize, usize),
    /// The server commits, and says so.
    Commit(usize),
    /// The connection breaks while the server was asked to commit.
    CommitUnanswered(usize),
    /// The connection breaks before.
    Disconnect(usize),
    /// The server rolls back and says so: a lock was not to be had, or worse.
    RollBack(usize),
    /// Lets go of what is not recorded.
    Release(usize, usize),
    /// Redis is not heard, and did nothing: then nothing is said of the run either.
    ReleaseUnanswered(usize, usize),
    /// `done` is said of the run, and so of all that it still holds.
    Finish(usize),
    /// Redis is not heard, and did nothing.
    FinishUnanswered(usize),
    /// Acknowledges a raw event, or defers it.
    GiveBack(usize, usize),
    /// `kill -9`.
    Crash(usize),
    /// A worker that was paused was taken for dead: its job is made ready for others. It goes on all the same.
    TakeAway(usize),
    /// The job of a dead worker is made ready.
    Recover(usize),
    /// A claim ends: of a run that is over with what is said of it, of another because Redis has lost it.
    Expire(usize),
    /// A run's lease ends, or its `done` is no longer remembered.
    ExpireRun(usize),
    /// The server, asked to commit by somebody who has gone, commits.
    OrphanCommits(Orphan),
    /// The server notices that somebody has gone.
    OrphanRollsBack(Orphan),
    /// Postgres comes back without a commit on which no acknowledgement rests.
    Forget(usize),
}

impl Action {
    /// Something goes wrong. That others clear away what is left behind is none: it only takes time.
    pub(super) fn is_mishap(self, state: &State) -> bool {
        match self {
            Self::Expire(key) => matches!(state.found(key), Claim::Held(token) if token.run != Run::Over),
            Self::ExpireRun(worker) => state.words[worker] == Word::Held,
            Self::TakeImpatiently(..)
            | Self::CommitUnanswered(_)
            | Self::ClaimUnanswered { .. }
            | Self::Disconnect(_)
            | Self::RollBack(_)
            | Self::ReleaseUnanswered(..)
            | Self::FinishUnanswered(_)
            | Self::Crash(_)
            | Self::TakeAway(_)
            | Self::Forget(_) => true,
            _ => false,
        }
    }
}

impl Inbound {
    /// Everything that can happen now.
    pub(super) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        for worker in 0..WORKERS {
            if state.workers[worker].is_idle() {
                fetches(state, worker, actions);
            } else {
                self.steps(state, worker, actions);
                actions.push(Action::Crash(worker));
            }
        }
        for (raw_event, place) in state.places.iter().enumerate() {
            match place {
                Place::With(_) => actions.push(Action::TakeAway(raw_event)),
                Place::Stranded => actions.push(Action::Recover(raw_event)),
                Place::Ready | Place::Settled => {}
            }
        }
        for orphan in &state.orphans {
            actions.extend(orphan.committing.then_some(Action::OrphanCommits(*orphan)));
            actions.push(Action::OrphanRollsBack(*orphan));
        }
        for (key, claim) in state.claims.iter().enumerate() {
            if *claim != Claim::Absent && !self.has(Flaw::ClaimsForEver) {
                actions.push(Action::Expire(key));
            }
            if self.may_be_forgotten(state, key) {
                actions.push(Action::Forget(key));
            }
        }
        for worker in (0..WORKERS).filter(|worker| state.words[*worker] != Word::None) {
            if state.keys_of(worker).next().is_some() && !self.has(Flaw::ClaimsForEver) {
                actions.push(Action::ExpireRun(worker));
            }
        }
        if state.mishaps_left == Some(0) {
            actions.retain(|action| !action.is_mishap(state));
        }
    }

    /// What a busy worker, or what it talks to, can do; the good first.
    fn steps(&self, state: &State, worker: usize, actions: &mut Vec<Action>) {
        let it = &state.workers[worker];
        if let Some(key) = it.first(|item| *item == Item::Unasked) {
            actions.push(Action::Take(worker, key));
            if self.finds_held(state, worker, key) && !self.has(Flaw::ClaimsForEver) {
                actions.push(Action::TakeImpatiently(worker, key));
            }
            actions.extend([true, false].map(|done| Action::ClaimUnanswered { worker, key, done }));
            return;
        }
        let next = it.first(|item| matches!(item, Item::Claimed(_)));
        if next.is_some() || it.is_in_transaction() {
            let waits = next.is_some_and(|key| self.waits(state, worker, key));
            actions.extend(next.filter(|_| !waits).map(|key| Action::Enter(worker, key)));
            let meets = |key: &usize| it.items[*key] == Item::Claimed(Said::Ours) && state.ledger[*key] > 0;
            actions.extend(next.filter(|_| !waits).filter(meets).map(|key| Action::IsThere(worker, key)));
            if state.words[worker] == Word::None && state.keys_of(worker).next().is_some() {
                actions.push(Action::Renew(worker));
            }
            if it.is_in_transaction() {
                let has_come = |key: &usize| it.items[*key] == Item::Over { recorded: false } && state.ledger[*key] > 0;
                actions.extend((0..KEYS).filter(has_come).map(|key| Action::HasCome(worker, key)));
                actions.extend([Action::Commit(worker), Action::CommitUnanswered(worker)]);
            }
            if it.is_in_transaction() || waits {
                actions.push(Action::RollBack(worker));
            }
            actions.push(Action::Disconnect(worker));
        } else if let Some(key) = it.first(|item| *item == Item::Deferred) {
            actions.extend([Action::Release(worker, key), Action::ReleaseUnanswered(worker, key)]);
        } else if it.items.contains(&Item::Recorded) {
            actions.extend([Action::Finish(worker), Action::FinishUnanswered(worker)]);
        } else if let Some(raw_event) = it.group.iter().position(|has| *has) {
            actions.push(Action::GiveBack(worker, raw_event));
        }
    }

    fn finds_held(&self, state: &State, worker: usize, key: usize) -> bool {
        match (state.found(key), self.token(state, worker, key)) {
            (Claim::Held(theirs), Claim::Held(ours)) => theirs.raw_event != ours.raw_event,
            _ => false,
        }
    }

    fn waits(&self, state: &State, worker: usize, key: usize) -> bool {
        state.is_locked(worker, key) && !self.has(Flaw::LedgerWithoutConstraint)
    }

    /// A failover to a replica that lags breaks all connections. More than this no protocol could repair: promise 2 holds as
    /// long as Postgres keeps the commits on which an acknowledgement rests.
    fn may_be_forgotten(&self, state: &State, key: usize) -> bool {
        let is_relied_on = |(place, keys): (&Place, &[usize])| *place == Place::Settled && keys.contains(&key);
        let believes = |item: Item| matches!(item, Item::Recorded | Item::Over { recorded: true });
        state.ledger[key] > 0
            && state.orphans.is_empty()
            && !state.places.iter().zip(self.raw_events).any(is_relied_on)
            && !state.workers.iter().any(|worker| worker.is_in_transaction() || believes(worker.items[key]))
    }

    /// What happens next when nothing goes wrong any more: what the dead have left behind is cleared away, who is busy goes on,
    /// and only then is more fetched. `None`: nothing is left to do.
    pub(super) fn calm_step(&self, state: &State) -> Option<Action> {
        let is_left_behind = |claim: &Claim| matches!(claim, Claim::Held(Token { run: Run::Over, .. }));
        let cleared = || {
            let stranded = state.places.iter().position(|place| *place == Place::Stranded).map(Action::Recover);
            let claim = state.claims.iter().position(is_left_behind).filter(|_| !self.has(Flaw::ClaimsForEver));
            let end = |orphan: &Orphan| match orphan.committing {
                true => Action::OrphanCommits(*orphan),
                false => Action::OrphanRollsBack(*orphan),
            };
            stranded.or(claim.map(Action::Expire)).or(state.orphans.first().map(end))
        };
        let mut actions = Vec::new();
        let (idle, busy): (Vec<usize>, Vec<usize>) = (0..WORKERS).partition(|worker| state.workers[*worker].is_idle());
        let mut step = |worker: &usize| {
            actions.clear();
            self.steps(state, *worker, &mut actions);
            actions.iter().copied().find(|action| !action.is_mishap(state))
        };
        cleared().or_else(|| busy.iter().find_map(&mut step)).or_else(|| {
            let mut actions = Vec::new();
            idle.iter().for_each(|worker| fetches(state, *worker, &mut actions));
            actions.first().copied()
        })
    }
}

/// One raw event, or all that are ready.
fn fetches(state: &State, worker: usize, actions: &mut Vec<Action>) {
    let ready = state.places.map(|place| place == Place::Ready);
    let how_many = ready.iter().filter(|is_ready| **is_ready).count();
    for raw_event in 0..RAW_EVENTS {
        let mut alone = [false; RAW_EVENTS];
        alone[raw_event] = true;
        actions.extend(ready[raw_event].then_some(Action::Fetch(worker, alone)));
    }
    actions.extend((how_many > 1).then_some(Action::Fetch(worker, ready)));
}
