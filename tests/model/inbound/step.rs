//! What an action does. One function an action; each is what the code does, in fewer words.

use super::{
    Inbound,
    action::Action,
    flaw::Flaw,
    state::{Claim, Item, KEYS, Orphan, Place, RAW_EVENTS, Run, Said, State, Token, Worker},
};

impl Inbound {
    pub(super) fn apply(&self, state: &mut State, action: Action) {
        if action.is_mishap(state) {
            state.mishaps_left = state.mishaps_left.map(|left| left.saturating_sub(1));
        }
        match action {
            Action::Fetch(worker, group) => self.fetch(state, worker, group),
            Action::Take(worker, key) => self.take(state, worker, key, Item::Over { recorded: false }),
            Action::TakeImpatiently(worker, key) => self.take(state, worker, key, Item::Claimed(Said::Not)),
            Action::TakeOver(worker, key) => self.take_over(state, worker, key),
            Action::ClaimUnanswered { worker, key, done } => self.claim_unanswered(state, worker, key, done),
            Action::Enter(worker, key) => self.enter(state, worker, key),
            Action::Commit(worker) => self.commit(state, worker),
            Action::CommitUnanswered(worker) => state.abandon_transaction(worker, true),
            Action::Disconnect(worker) => state.abandon_transaction(worker, false),
            Action::RollBack(worker) => self.roll_back(state, worker),
            Action::LetGo(worker, key) => self.let_go(state, worker, key),
            Action::LetGoUnanswered(worker, key) => state.is_over(worker, key),
            Action::GiveBack(worker, raw_event) => self.give_back(state, worker, raw_event),
            Action::Crash(worker) => state.crash(worker),
            Action::TakeAway(raw_event) | Action::Recover(raw_event) => state.places[raw_event] = Place::Ready,
            Action::Expire(key) => state.expire(key),
            Action::OrphanCommits(orphan) => self.end_orphan(state, orphan, true),
            Action::OrphanRollsBack(orphan) => self.end_orphan(state, orphan, false),
            Action::Forget(key) => (state.ledger[key], state.owed[key]) = (0, 0),
        }
    }

    fn fetch(&self, state: &mut State, worker: usize, group: [bool; RAW_EVENTS]) {
        state.workers[worker].group = group;
        for raw_event in (0..self.raw_events.len()).filter(|raw| group[*raw]) {
            let pops = self.has(Flaw::AcknowledgesOnFetch);
            state.places[raw_event] = if pops { Place::Settled } else { Place::With(worker) };
            self.raw_events[raw_event].iter().for_each(|key| state.workers[worker].items[*key] = Item::Unasked);
        }
    }

    fn take(&self, state: &mut State, worker: usize, key: usize, when_held: Item) {
        let ours = self.token(state, worker, key);
        let item = match (state.claims[key], ours) {
            (Claim::Absent, _) => {
                state.claims[key] = ours;
                state.holders[key][worker] = true;
                Item::Claimed(Said::Ours)
            }
            (Claim::Done, _) if self.has(Flaw::BelievesDone) => Item::Over { recorded: true },
            (Claim::Done, _) => Item::Claimed(Said::Not),
            (Claim::Held(found), Claim::Held(ours)) if found.raw_event == ours.raw_event => Item::Found(found),
            (Claim::Held(_), _) if self.has(Flaw::DropsWhatIsHeld) => Item::Over { recorded: true },
            (Claim::Held(_), _) => when_held,
        };
        state.workers[worker].items[key] = item;
    }

    /// Compared with what was seen, so that of two that try one succeeds.
    fn take_over(&self, state: &mut State, worker: usize, key: usize) {
        let Item::Found(seen) = state.workers[worker].items[key] else { return };
        let item = match state.claims[key] {
            Claim::Held(now) if now == seen => {
                if let Run::Of(earlier) = seen.run {
                    state.holders[key][earlier] = false;
                }
                state.claims[key] = self.token(state, worker, key);
                state.holders[key][worker] = true;
                Item::Claimed(Said::Ours)
            }
            Claim::Done if self.has(Flaw::BelievesDone) => Item::Over { recorded: true },
            Claim::Done => Item::Claimed(Said::Not),
            Claim::Absent | Claim::Held(_) if self.has(Flaw::DropsWhatIsHeld) => Item::Over { recorded: true },
            Claim::Absent | Claim::Held(_) => Item::Over { recorded: false },
        };
        state.workers[worker].items[key] = item;
    }

    /// Unanswered counts as unclaimed: the worker goes on, and lets go later by owner.
    fn claim_unanswered(&self, state: &mut State, worker: usize, key: usize, done: bool) {
        if done {
            match state.workers[worker].items[key] {
                Item::Found(_) => self.take_over(state, worker, key),
                _ => self.take(state, worker, key, Item::Over { recorded: false }),
            }
        }
        state.workers[worker].items[key] = Item::Claimed(Said::Ours);
    }

    fn enter(&self, state: &mut State, worker: usize, key: usize) {
        let Item::Claimed(said) = state.workers[worker].items[key] else { return };
        let is_there = state.ledger[key] > 0;
        state.workers[worker].items[key] = if is_there { Item::Known(said) } else { Item::Entered(said) };
        if self.has(Flaw::EnqueuesBeforeCommit) && !is_there {
            state.owed[key] = 1;
        }
        if self.has(Flaw::DoneBeforeCommit) && state.claims[key] == self.token(state, worker, key) {
            state.finish(worker, key);
        }
    }

    /// The one transaction: the ledger, and what is owed.
    fn commit(&self, state: &mut State, worker: usize) {
        for key in 0..KEYS {
            let item = state.workers[worker].items[key];
            if let Item::Entered(_) = item {
                self.record(state, key);
            }
            if let Item::Entered(said) | Item::Known(said) = item {
                state.workers[worker].items[key] = Item::recorded(said);
            }
        }
    }

    /// Saturates at two: twice is too often already.
    fn record(&self, state: &mut State, key: usize) {
        state.ledger[key] = (state.ledger[key] + 1).min(2);
        if !self.has(Flaw::EnqueuesBeforeCommit) && !self.has(Flaw::EnqueuesAfterCommit) {
            state.owed[key] = (state.owed[key] + 1).min(2);
        }
    }

    fn end_orphan(&self, state: &mut State, orphan: Orphan, commits: bool) {
        state.orphans.retain(|other| *other != orphan);
        (0..KEYS).filter(|key| commits && orphan.keys[*key]).for_each(|key| self.record(state, key));
    }

    /// What was in the transaction comes later, with what waited for a lock; the rest is tried in another.
    fn roll_back(&self, state: &mut State, worker: usize) {
        for key in 0..KEYS {
            match state.workers[worker].items[key] {
                Item::Entered(said) | Item::Known(said) => state.workers[worker].items[key] = Item::deferred(said),
                Item::Claimed(said) if state.is_locked(worker, key) => {
                    state.workers[worker].items[key] = Item::deferred(said);
                }
                _ => {}
            }
        }
    }

    fn let_go(&self, state: &mut State, worker: usize, key: usize) {
        let is_ours = state.claims[key] == self.token(state, worker, key);
        match state.workers[worker].items[key] {
            Item::Recorded => {
                if self.has(Flaw::EnqueuesAfterCommit) {
                    state.owed[key] = 1;
                }
                if is_ours {
                    state.finish(worker, key);
                }
            }
            _ if is_ours || self.has(Flaw::ReleasesAnybodys) => state.claims[key] = Claim::Absent,
            _ => {}
        }
        state.is_over(worker, key);
    }

    /// A job that was taken away is somebody else's: then this does nothing to it.
    fn give_back(&self, state: &mut State, worker: usize, raw_event: usize) {
        let items = &state.workers[worker].items;
        let recorded = self.raw_events[raw_event].iter().all(|key| items[*key] == Item::Over { recorded: true });
        if state.places[raw_event] == Place::With(worker) {
            state.places[raw_event] = if recorded { Place::Settled } else { Place::Ready };
        }
        state.workers[worker].group[raw_event] = false;
        if state.workers[worker].is_idle() {
            state.end_run(worker);
        }
    }

    /// The claim under this worker's token: of the first of its raw events that has the key.
    pub(super) fn token(&self, state: &State, worker: usize, key: usize) -> Claim {
        let has = |raw: &usize| state.workers[worker].group[*raw] && self.raw_events[*raw].contains(&key);
        let leader = (0..self.raw_events.len()).find(has).unwrap_or_default();
        Claim::Held(Token { raw_event: leader, run: Run::Of(worker) })
    }
}

impl State {
    fn finish(&mut self, worker: usize, key: usize) {
        self.claims[key] = Claim::Done;
        self.holders[key][worker] = false;
        self.done_too_early |= self.ledger[key] == 0;
    }

    /// The claim has been told, or could not be.
    fn is_over(&mut self, worker: usize, key: usize) {
        let recorded = self.workers[worker].items[key] == Item::Recorded;
        self.workers[worker].items[key] = Item::Over { recorded };
        self.holders[key][worker] = false;
    }

    /// The server is left with an open transaction, and the worker knows nothing of it: all that waits comes later.
    fn abandon_transaction(&mut self, worker: usize, committing: bool) {
        let items = &mut self.workers[worker].items;
        let keys = items.map(|item| matches!(item, Item::Entered(_)));
        for item in items {
            if let Item::Claimed(said) | Item::Entered(said) | Item::Known(said) = *item {
                *item = Item::deferred(said);
            }
        }
        let orphan = Orphan { keys, committing };
        if keys.contains(&true) && !self.orphans.contains(&orphan) {
            self.orphans.push(orphan);
            self.orphans.sort_unstable();
        }
    }

    fn crash(&mut self, worker: usize) {
        self.abandon_transaction(worker, false);
        self.places
            .iter_mut()
            .filter(|place| **place == Place::With(worker))
            .for_each(|place| *place = Place::Stranded);
        self.end_run(worker);
    }

    /// The worker will never again use this run's token; who has seen it can tell it from others, and no more.
    fn end_run(&mut self, worker: usize) {
        self.workers[worker] = Worker::default();
        let found = self.workers.iter_mut().flat_map(|worker| &mut worker.items).filter_map(|item| match item {
            Item::Found(token) => Some(token),
            _ => None,
        });
        let held = self.claims.iter_mut().filter_map(|claim| match claim {
            Claim::Held(token) => Some(token),
            Claim::Absent | Claim::Done => None,
        });
        found.chain(held).filter(|token| token.run == Run::Of(worker)).for_each(|token| token.run = Run::Over);
        self.holders.iter_mut().for_each(|holders| holders[worker] = false);
    }

    fn expire(&mut self, key: usize) {
        if let Claim::Held(token) = self.claims[key]
            && let Run::Of(worker) = token.run
        {
            self.holders[key][worker] = false;
        }
        self.claims[key] = Claim::Absent;
    }
}
