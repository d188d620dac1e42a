//! Ways to get it wrong, each a line in `step.rs` or `action.rs`.

/// A mistake in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Flaw {
    /// A delivery is announced before its transaction has committed.
    SendsUncommitted,
    /// Every attempt makes its own id.
    IdOfTheAttempt,
    /// The id is the row's.
    IdOfTheRow,
    /// The body is made when it is sent, of what is true then.
    BodyMadeWhenSent,
    /// What is due is taken out of the table by whoever sends it.
    TakesInsteadOfLeasing,
    /// Delivered is written before the request.
    RecordsBeforeSending,
    /// A failure counts under any lease.
    LateFailureCounts,
    /// A success counts under the current lease only.
    LateSuccessIsLost,
}
