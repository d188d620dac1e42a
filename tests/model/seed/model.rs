//! Two workers that go through the same script, side by side.

use stateright::{Model, Property};

use super::{Algorithm, Command};

/// What is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    RecordedOnce,
    NeverLost,
}

/// A message that comes so many times, and two workers, A and B.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seed {
    pub algorithm: Algorithm,
    /// 1 or 2.
    pub deliveries: usize,
    pub promise: Promise,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Deliveries that wait in the queue, for the first time or again.
    waiting: usize,
    acknowledged: usize,
    key: bool,
    rows: usize,
    /// How far each worker is in the script; `None`: idle.
    workers: [Option<usize>; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Take(usize),
    /// The next command of the script.
    Go(usize),
    /// An exception: the transaction is rolled back, and the job will be retried.
    Fail(usize),
}

/// What a command met with.
enum Met {
    GoOn(&'static str),
    /// It takes the delivery for a duplicate, and acknowledges it.
    Duplicate(&'static str),
}

impl Seed {
    /// Follows the command; says what came of it.
    fn follow(&self, state: &mut State, command: Command) -> Met {
        let was_there = state.key;
        match command {
            Command::Get if was_there => return Met::Duplicate("there: acknowledges"),
            Command::Get => return Met::GoOn("nothing"),
            Command::SetNx if was_there => return Met::Duplicate("refused: acknowledges"),
            Command::Select if state.rows > 0 => return Met::Duplicate("there: acknowledges"),
            Command::Select => return Met::GoOn("no row"),
            Command::SetEx | Command::SetNx => state.key = true,
            Command::Del => state.key = false,
            Command::Insert => return Met::GoOn("not committed yet"),
            Command::Commit => state.rows += 1,
        }
        Met::GoOn(match (command, state.rows) {
            (Command::SetNx, _) => "the claim is won",
            (Command::Commit, 1) => "the message is there",
            (Command::Commit, _) => "the message is there twice",
            _ => "",
        })
    }

    fn go(&self, state: &mut State, worker: usize) -> Option<(Command, &'static str)> {
        let at = state.workers[worker]?;
        let command = self.algorithm.script[at];
        let (ends, what) = match self.follow(state, command) {
            Met::GoOn(what) => (at + 1 == self.algorithm.script.len(), what),
            Met::Duplicate(what) => (true, what),
        };
        state.acknowledged += usize::from(ends);
        state.workers[worker] = (!ends).then_some(at + 1);
        Some((command, what))
    }

    fn fail(&self, state: &mut State, worker: usize) {
        state.workers[worker] = None;
        state.waiting += 1;
        state.key &= !self.algorithm.releases;
    }

    /// An exception after COMMIT or before the claim does no harm in any of the algorithms: those are left out.
    fn may_fail(&self, at: usize) -> bool {
        let (done, to_do) = self.algorithm.script.split_at(at);
        to_do.contains(&Command::Commit) && done.iter().any(|it| matches!(it, Command::SetEx | Command::SetNx))
    }

    /// A line of the story.
    pub(crate) fn tell(&self, state: &State, action: Action) -> String {
        let mut next = state.clone();
        let (worker, does, what) = match action {
            Action::Take(worker) => (worker, "takes the message", ""),
            Action::Fail(worker) => (worker, "exception, ROLLBACK", "the job will be retried"),
            Action::Go(worker) => match self.go(&mut next, worker) {
                Some((command, what)) => (worker, command.spelled(), what),
                None => (worker, "", ""),
            },
        };
        format!("worker {}   {does:<24} {what}", ["A", "B"][worker]).trim_end().to_owned()
    }
}

impl Command {
    fn spelled(self) -> &'static str {
        match self {
            Self::Get => "GET key",
            Self::SetEx => "SETEX key",
            Self::SetNx => "SET key NX EX 86400",
            Self::Del => "DEL key",
            Self::Select => "SELECT the message",
            Self::Insert => "BEGIN, INSERT",
            Self::Commit => "COMMIT",
        }
    }
}

impl Model for Seed {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { waiting: self.deliveries, acknowledged: 0, key: false, rows: 0, workers: [None; 2] }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (worker, at) in state.workers.iter().enumerate() {
            match *at {
                None => actions.extend((state.waiting > 0).then_some(Action::Take(worker))),
                Some(at) => {
                    actions.push(Action::Go(worker));
                    actions.extend(self.may_fail(at).then_some(Action::Fail(worker)));
                }
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Take(worker) => {
                next.waiting -= 1;
                next.workers[worker] = Some(0);
            }
            Action::Go(worker) => drop(self.go(&mut next, worker)),
            Action::Fail(worker) => self.fail(&mut next, worker),
        }
        Some(next)
    }

    /// One, so that the checker stops at the first way to break it, which is a shortest.
    fn properties(&self) -> Vec<Property<Self>> {
        vec![match self.promise {
            Promise::RecordedOnce => Property::always("recorded once", |_, state: &State| state.rows <= 1),
            Promise::NeverLost => Property::always("never lost", |seed: &Self, state: &State| {
                state.acknowledged < seed.deliveries || state.rows > 0
            }),
        }]
    }
}
