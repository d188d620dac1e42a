//! What an action does. One function an action; each is what the code does, in fewer words.

use super::{
    Inbound,
    action::Action,
    flaw::Flaw,
    state::{Claim, Item, KEYS, Orphan, Place, RAW_EVENTS, Run, Said, State, Token, WORKERS, Word, Worker},
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
            Action::ClaimUnanswered { worker, key, done } => self.claim_unanswered(state, worker, key, done),
            Action::Renew(worker) => state.renew(worker),
            Action::Enter(worker, key) => self.enter(state, worker, key),
            Action::IsThere(worker, _) => state.try_again(worker),
            Action::HasCome(worker, key) => state.workers[worker].items[key] = Item::Over { recorded: true },
            Action::Commit(worker) => self.commit(state, worker),
            Action::CommitUnanswered(worker) => state.abandon_transaction(worker, true),
            Action::Disconnect(worker) => state.abandon_transaction(worker, false),
            Action::RollBack(worker) => self.roll_back(state, worker),
            Action::Release(worker, key) => self.release(state, worker, key),
            Action::ReleaseUnanswered(worker, key) if self.has(Flaw::FinishesUnreleased) => state.is_over(worker, key),
            Action::ReleaseUnanswered(worker, _) | Action::FinishUnanswered(worker) => state.say_no_more(worker),
            Action::Finish(worker) => self.finish(state, worker),
            Action::GiveBack(worker, raw_event) => self.give_back(state, worker, raw_event),
            Action::Crash(worker) => state.crash(worker),
            Action::TakeAway(raw_event) | Action::Recover(raw_event) => state.places[raw_event] = Place::Ready,
            Action::Expire(key) => state.expire(key),
            Action::ExpireRun(worker) => state.expire_run(worker),
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

    /// In one script, so that of two that try one succeeds.
    fn take(&self, state: &mut State, worker: usize, key: usize, when_held: Item) {
        let ours = self.token(state, worker, key);
        let found = state.found(key);
        // Said of the run first, whatever comes of the claim.
        state.renew(worker);
        let item = match (found, ours) {
            (Claim::Absent, _) => self.win(state, worker, key),
            (Claim::Done, _) if self.has(Flaw::BelievesDone) => Item::Over { recorded: true },
            (Claim::Done, _) => Item::Claimed(Said::Not),
            (Claim::Held(found), Claim::Held(ours)) if found.raw_event == ours.raw_event => {
                if let Run::Of(earlier) = found.run {
                    state.holders[key][earlier] = false;
                }
                self.win(state, worker, key)
            }
            (Claim::Held(_), _) if self.has(Flaw::DropsWhatIsHeld) => Item::Over { recorded: true },
            (Claim::Held(_), _) => when_held,
        };
        state.workers[worker].items[key] = item;
    }

    fn win(&self, state: &mut State, worker: usize, key: usize) -> Item {
        state.claims[key] = self.token(state, worker, key);
        state.holders[key][worker] = true;
        Item::Claimed(Said::Ours)
    }

    /// Unanswered counts as unclaimed: the worker goes on, and lets go later by owner.
    fn claim_unanswered(&self, state: &mut State, worker: usize, key: usize, done: bool) {
        if done {
            self.take(state, worker, key, Item::Over { recorded: false });
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
            state.finish(worker);
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

    fn release(&self, state: &mut State, worker: usize, key: usize) {
        if state.claims[key] == self.token(state, worker, key) || self.has(Flaw::ReleasesAnybodys) {
            state.claims[key] = Claim::Absent;
        }
        state.is_over(worker, key);
    }

    fn finish(&self, state: &mut State, worker: usize) {
        state.finish(worker);
        for key in 0..KEYS {
            if state.workers[worker].items[key] == Item::Recorded {
                state.owed[key] = if self.has(Flaw::EnqueuesAfterCommit) { 1 } else { state.owed[key] };
                state.is_over(worker, key);
            }
        }
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
    /// Unless it is done, whatever still has its token is its own (again).
    fn renew(&mut self, worker: usize) {
        if self.words[worker] != Word::Done {
            self.words[worker] = Word::Held;
            self.keys_of(worker).for_each(|key| self.holders[key][worker] = true);
        }
    }

    fn finish(&mut self, worker: usize) {
        self.words[worker] = Word::Done;
        for key in self.keys_of(worker) {
            self.holders[key][worker] = false;
            self.done_too_early |= self.ledger[key] == 0;
        }
    }

    /// Nothing was written; the next look is at the ledger.
    fn try_again(&mut self, worker: usize) {
        for item in &mut self.workers[worker].items {
            if let Item::Entered(said) | Item::Known(said) = *item {
                *item = Item::Claimed(said);
            }
        }
    }

    /// Redis was not heard: what could not be let go must not be called done with the rest.
    fn say_no_more(&mut self, worker: usize) {
        for (key, item) in self.workers[worker].items.into_iter().enumerate() {
            if matches!(item, Item::Recorded | Item::Deferred) {
                self.is_over(worker, key);
            }
        }
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

    /// The worker will never again use this run's token. What was said of it is true of its claims until each ends.
    fn end_run(&mut self, worker: usize) {
        self.workers[worker] = Worker::default();
        for key in self.keys_of(worker) {
            self.claims[key] = match self.found(key) {
                Claim::Held(token) => Claim::Held(Token { run: Run::Over, ..token }),
                found => found,
            };
        }
        self.words[worker] = Word::None;
        self.holders.iter_mut().for_each(|holders| holders[worker] = false);
    }

    fn expire(&mut self, key: usize) {
        self.claims[key] = Claim::Absent;
        self.holders[key] = [false; WORKERS];
    }

    fn expire_run(&mut self, worker: usize) {
        self.words[worker] = Word::None;
        self.holders.iter_mut().for_each(|holders| holders[worker] = false);
    }
}
