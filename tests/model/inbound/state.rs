//! What the inbound half consists of at one moment: the queue and the claims (Redis), the ledger and what is owed
//! (Postgres), transactions whose worker has gone, and the workers.
//!
//! Small on purpose, and of no more than the protocol compares. A claim's token names its run as "the one that worker A is
//! on" or as "one that is over": no other difference between runs is ever looked at. So nothing is counted, and what
//! is finite here is unlimited outside: any number of crashes, retries, expiries. What Redis says of a run that is over is
//! written to each of its claims, where each may end by itself: that is more than can happen, and never less.

/// Workers, each with one group at a time: A and B.
pub(super) const WORKERS: usize = 2;
/// Keys, that is: items that differ. x and y.
pub(super) const KEYS: usize = 2;
/// Raw events, 1 and 2.
pub(super) const RAW_EVENTS: usize = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub places: [Place; RAW_EVENTS],
    pub claims: [Claim; KEYS],
    /// What Redis says of the run that each worker is on, and so of all claims with its token.
    pub words: [Word; WORKERS],
    /// Who won the claim, and has neither let it go nor lost it to the end of its lease or to a later run of its raw event.
    pub holders: [[bool; WORKERS]; KEYS],
    pub workers: [Worker; WORKERS],
    pub orphans: Vec<Orphan>,
    /// Committed events a key. One, the ledger says.
    pub ledger: [u8; KEYS],
    /// Deliveries owed a key, to the one endpoint.
    pub owed: [u8; KEYS],
    /// How much may still go wrong; `None`: anything, any number of times.
    pub mishaps_left: Option<u8>,
    /// `done` was written of a key that the ledger did not have.
    pub done_too_early: bool,
}

/// Where a raw event is. One that has not come yet, one that is ready and one that was deferred are the same: somebody
/// may fetch it at any later moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Ready,
    /// In flight, with that worker.
    With(usize),
    /// In flight, with a worker that is dead.
    Stranded,
    /// Acknowledged: nobody will ever hear of it again.
    Settled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Claim {
    Absent,
    /// Held or done, as is said of its run; nobody's, where nothing is.
    Held(Token),
    /// Of a run that is over.
    Done,
}

/// What stands in the key of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) enum Word {
    /// The lease has ended, or it has taken nothing yet.
    #[default]
    None,
    Held,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token {
    pub raw_event: usize,
    pub run: Run,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Run {
    /// The one that this worker is on.
    Of(usize),
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Worker {
    /// The raw events of its group; none: it is idle.
    pub group: [bool; RAW_EVENTS],
    pub items: [Item; KEYS],
}

/// How far a group is with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) enum Item {
    /// The group does not have it.
    #[default]
    None,
    Unasked,
    /// Redis has spoken, or has not.
    Claimed(Said),
    /// Inserted, in the open transaction.
    Entered(Said),
    /// Found in the ledger, in the open transaction.
    Known(Said),
    /// Its transaction has committed; the claim has to be told.
    Recorded,
    /// For later; the claim has to be let go.
    Deferred,
    /// All is said.
    Over {
        recorded: bool,
    },
}

/// What came of asking for the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Said {
    /// Won, taken over, or no answer: it is let go later, by owner.
    Ours,
    /// `done`; or another's, and this group has no patience left and goes on without it. The ledger decides either way.
    Not,
}

/// A transaction whose connection is gone. The server ends it, some time: rolls it back or, if it was asked to commit,
/// perhaps commits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Orphan {
    pub keys: [bool; KEYS],
    pub committing: bool,
}

impl State {
    /// Raw events that have come, or will; nothing else has happened.
    pub(super) fn beginning(mishaps_left: Option<u8>) -> Self {
        Self {
            places: [Place::Ready; RAW_EVENTS],
            claims: [Claim::Absent; KEYS],
            words: [Word::None; WORKERS],
            holders: [[false; WORKERS]; KEYS],
            workers: Default::default(),
            orphans: Vec::new(),
            ledger: [0; KEYS],
            owed: [0; KEYS],
            mishaps_left,
            done_too_early: false,
        }
    }

    /// What whoever wants the key finds of its claim.
    pub(super) fn found(&self, key: usize) -> Claim {
        let Claim::Held(Token { run: Run::Of(worker), .. }) = self.claims[key] else { return self.claims[key] };
        match self.words[worker] {
            Word::None => Claim::Absent,
            Word::Held => self.claims[key],
            Word::Done => Claim::Done,
        }
    }

    /// The keys whose claims hold the token of the run that a worker is on.
    pub(super) fn keys_of(&self, worker: usize) -> impl Iterator<Item = usize> + use<> {
        let is_its = |claim: &Claim| matches!(claim, Claim::Held(token) if token.run == Run::Of(worker));
        let its = self.claims.map(|claim| is_its(&claim));
        (0..KEYS).filter(move |key| its[*key])
    }

    /// Whether the uncommitted row of somebody else makes whoever enters this key wait.
    pub(super) fn is_locked(&self, worker: usize, key: usize) -> bool {
        let entered = |other: &Worker| matches!(other.items[key], Item::Entered(_));
        let others = self.workers.iter().enumerate().filter(|(other, _)| *other != worker);
        others.into_iter().any(|(_, other)| entered(other)) || self.orphans.iter().any(|orphan| orphan.keys[key])
    }
}

impl Worker {
    pub(super) fn is_idle(&self) -> bool {
        self.group.iter().all(|has| !has)
    }

    pub(super) fn first(&self, wanted: impl Fn(&Item) -> bool) -> Option<usize> {
        self.items.iter().position(wanted)
    }

    /// Something is in its transaction.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.items.iter().any(|item| item.is_in_transaction())
    }
}

impl Item {
    pub(super) fn is_in_transaction(self) -> bool {
        matches!(self, Self::Entered(_) | Self::Known(_))
    }

    /// Committed: the claim is still to be told, if it is ours.
    pub(super) fn recorded(said: Said) -> Self {
        if said == Said::Ours { Self::Recorded } else { Self::Over { recorded: true } }
    }

    /// Not now: the claim is still to be let go, if it is ours.
    pub(super) fn deferred(said: Said) -> Self {
        if said == Said::Ours { Self::Deferred } else { Self::Over { recorded: false } }
    }
}
