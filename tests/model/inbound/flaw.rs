//! Ways to get it wrong, each a line in `step.rs`. The checker must find what each of them breaks: a model in which
//! nothing can go wrong shows nothing.

/// A mistake in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Flaw {
    /// Fetching is acknowledging, as with a queue that pops.
    AcknowledgesOnFetch,
    /// What another worker holds counts as done.
    DropsWhatIsHeld,
    /// What Redis calls `done` is not looked up in the ledger.
    BelievesDone,
    /// `done` is written before COMMIT.
    DoneBeforeCommit,
    /// `done` is said of a run though Redis has not heard what it lets go of.
    FinishesUnreleased,
    /// A release does not compare the owner.
    ReleasesAnybodys,
    /// The ledger is looked at before the insert, but has no unique constraint.
    LedgerWithoutConstraint,
    /// The delivery is enqueued before COMMIT, outside the transaction.
    EnqueuesBeforeCommit,
    /// The delivery is enqueued after COMMIT, outside the transaction.
    EnqueuesAfterCommit,
    /// Claims have no lease, and nobody loses patience.
    ClaimsForEver,
}
