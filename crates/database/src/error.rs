//! What kind of trouble an error is. It decides whether work is tried again or looked at.

use diesel::result::{DatabaseErrorKind, Error};

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Other transactions: a lock waited for too long (SQLSTATE 55P03), a deadlock (40P01), a serialization failure
    /// (40001). Smaller work, or the same a little later, succeeds.
    Contention,
    /// What had been looked up was not so any more. The same work succeeds once it has looked again.
    Stale,
    /// The server or the network (classes 08, 53, 57, 58; a connection that is gone, or that only reads): the same work
    /// will succeed when they are back. Never quarantined.
    Outage,
    /// Tables, rows and rights are not those that the statement was written for (class 42; a plan, or a prepared statement,
    /// that holds no more; a row of a later version): the migrations did not run yet, say. Latchhook's own statements wait
    /// for them.
    Schema,
    /// The work itself: it would fail again.
    Work,
    /// None of these, so that nobody waits for it to pass: what an app's trigger raises, say, or a page that is damaged.
    Unknown,
}

/// Judges an error.
///
/// diesel keeps the SQLSTATE only for the kinds it knows, so the rest are told by Postgres's words, which are English
/// wherever the role may say that they shall be (a superuser, or whom one has granted it).
/// [`Database::trouble`](crate::Database::trouble) knows whether they are.
pub fn trouble(error: &Error) -> Trouble {
    use DatabaseErrorKind as Kind;
    match error {
        Error::DatabaseError(Kind::CheckViolation | Kind::NotNullViolation | Kind::ForeignKeyViolation, _) => {
            Trouble::Work
        }
        Error::DatabaseError(Kind::UniqueViolation | Kind::ExclusionViolation | Kind::RestrictViolation, _) => {
            Trouble::Work
        }
        Error::DatabaseError(Kind::SerializationFailure, _) => Trouble::Contention,
        Error::DatabaseError(Kind::UnableToSendCommand | Kind::ClosedConnection | Kind::ReadOnlyTransaction, _) => {
            Trouble::Outage
        }
        Error::DatabaseError(_, info) => by_words(info.message()),
        Error::SerializationError(_) | Error::QueryBuilderError(_) => Trouble::Work,
        Error::NotFound => Trouble::Stale,
        Error::BrokenTransactionManager | Error::RollbackErrorOnCommit { .. } => Trouble::Outage,
        Error::DeserializationError(_) => Trouble::Schema,
        _ => Trouble::Unknown,
    }
}

/// Whether an error only says that a statement before it has failed.
pub fn is_echo(error: &Error) -> bool {
    matches!(error, Error::DatabaseError(_, info) if info.message().contains(ECHO))
}

/// What was not there, as far as one knew, is there all the same, says this constraint. (An app's trigger can say as much
/// without it, and then it is the work.)
pub(crate) fn stale_by(constraint: &str) -> impl Fn(Error) -> Error {
    move |error| match &error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, info)
            if info.constraint_name() == Some(constraint) =>
        {
            Error::NotFound
        }
        _ => error,
    }
}

/// What holds work up that is tried again, in words that stand before the error itself: whoever reads of a server that is
/// away looks for a dead one.
pub fn held_up_by(error: &Error) -> &'static str {
    use DatabaseErrorKind as Kind;
    match error {
        _ if trouble(error) == Trouble::Contention => "others hold locks in Postgres",
        Error::DatabaseError(_, info) if info.message().contains("statement timeout") => "Postgres takes too long",
        // No server has said that.
        Error::DatabaseError(Kind::UnableToSendCommand | Kind::ClosedConnection, _) => "Postgres is away",
        Error::BrokenTransactionManager => "Postgres is away",
        Error::DatabaseError(..) => "Postgres refuses",
        _ => "what Postgres gives cannot be used",
    }
}

fn by_words(message: &str) -> Trouble {
    let known = [
        (&REFUSED[..], Trouble::Work),
        (&LOCKED, Trouble::Contention),
        (&AWAY, Trouble::Outage),
        (&OTHER_SCHEMA, Trouble::Schema),
    ];
    let said = known.into_iter().find(|(words, _)| words.iter().any(|words| message.contains(words)));
    said.map_or(Trouble::Unknown, |(_, trouble)| trouble)
}

/// 25P02: what a statement says that was sent behind one that failed.
const ECHO: &str = "current transaction is aborted";

/// 55P03 and 40P01, which diesel has no kinds for. And an echo that is heard before what it echoes: what failed is not known
/// then, and nobody is to be blamed for it.
const LOCKED: [&str; 4] = ["lock timeout", "deadlock detected", "could not obtain lock", ECHO];

/// Class 22 (data exception) and class 54 (program limit).
const REFUSED: [&str; 12] = [
    "invalid byte sequence",
    "invalid input syntax",
    "value too long",
    "out of range",
    "field overflow",
    "index row",
    "unsupported Unicode escape",
    "too long to represent",
    "exceeds the maximum of",
    "exceeds the maximum allowed",
    "exceeds maximum allowed length",
    "stack depth limit exceeded",
];

/// Classes 08, 53, 57 and 58, and the rest of class 25 that ends a connection.
const AWAY: [&str; 23] = [
    "connection",
    "left in message",
    "too many clients",
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "temp_file_limit",
    "out of memory",
    "out of shared memory",
    "canceling statement",
    "the database system is",
    "read-only",
    "Input/output error",
    "could not access file",
    "could not create file",
    "could not extend file",
    "could not fsync file",
    "could not open file",
    "could not read",
    "could not seek",
    "could not stat file",
    "could not truncate file",
    "could not write",
];

/// Class 42 of statements that are fixed (a table, a column, a right is not there), 26000 and 0A000 of prepared ones, and
/// what a statement says that meets a change of the schema.
const OTHER_SCHEMA: [&str; 6] = [
    "does not exist",
    "permission denied",
    "must be owner",
    "cached plan must not change",
    "cache lookup failed",
    "could not open relation",
];

/// Why a row with secrets could not be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The query failed.
    #[error("sources or endpoints cannot be read from Postgres")]
    Query(#[from] Error),
    /// A secret did not open.
    #[error("a secret does not open")]
    Seal(#[from] vocabulary::SealError),
    /// A row that latchhook did not write.
    #[error("a row holds an id that latchhook would not have written")]
    Id(#[from] vocabulary::IdError),
    /// Likewise.
    #[error("a row holds event types that latchhook would not have written")]
    EventTypes(#[from] vocabulary::EventTypesError),
    /// Likewise.
    #[error("a row holds a filter that latchhook would not have written")]
    Filter(#[from] vocabulary::FilterError),
    /// Likewise.
    #[error("a row holds a name that latchhook would not have written")]
    Name(#[from] vocabulary::NameError),
}

pub(crate) fn open_text(
    master: &vocabulary::MasterKey,
    place: &str,
    sealed: &[u8],
) -> Result<secrecy::SecretString, OpenError> {
    let plain = master.open(place, sealed)?;
    let text = String::from_utf8(plain).map_err(|_| vocabulary::SealError::Damaged(place.to_owned()))?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_says_nothing_is_called_away() {
        let says = |kind, words: &str| held_up_by(&Error::DatabaseError(kind, Box::new(words.to_owned())));
        let says_of_its_own = |words| says(DatabaseErrorKind::Unknown, words);

        assert_eq!(says(DatabaseErrorKind::UnableToSendCommand, "connection closed"), "Postgres is away");
        assert_eq!(held_up_by(&Error::BrokenTransactionManager), "Postgres is away");
        for words in ["canceling statement due to lock timeout", "deadlock detected"] {
            assert_eq!(says_of_its_own(words), "others hold locks in Postgres");
        }
        assert_eq!(says(DatabaseErrorKind::SerializationFailure, "concurrent update"), "others hold locks in Postgres");
        assert_eq!(says_of_its_own("canceling statement due to statement timeout"), "Postgres takes too long");
        assert_eq!(says_of_its_own("relation \"due\" does not exist"), "Postgres refuses");
        assert_eq!(held_up_by(&Error::NotFound), "what Postgres gives cannot be used");
    }
}
