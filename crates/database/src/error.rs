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
    /// The server or the network (classes 08, 25, 53, 57, 58; a connection that is gone; whatever we do not know): the same
    /// work will succeed when they are back. Never quarantined.
    Outage,
    /// The work itself: it would fail again.
    Work,
}

/// Judges an error.
///
/// diesel keeps the SQLSTATE only for the kinds it knows, so the rest are told by what can only come from the work: the
/// statements are fixed, therefore what fails on account of its *values* is a constraint or a value that a type refuses,
/// and these come back as the named kinds or with Postgres's own words for a bad value.
pub fn trouble(error: &Error) -> Trouble {
    use DatabaseErrorKind as Kind;
    match error {
        Error::DatabaseError(Kind::CheckViolation | Kind::NotNullViolation | Kind::ForeignKeyViolation, _) => {
            Trouble::Work
        }
        Error::DatabaseError(Kind::UniqueViolation | Kind::ExclusionViolation | Kind::RestrictViolation, _) => {
            Trouble::Work
        }
        Error::DatabaseError(_, info) if is_value_refused(info.message()) => Trouble::Work,
        Error::SerializationError(_) | Error::QueryBuilderError(_) => Trouble::Work,
        Error::NotFound => Trouble::Stale,
        Error::DatabaseError(Kind::SerializationFailure, _) => Trouble::Contention,
        Error::DatabaseError(_, info) if is_lock(info.message()) => Trouble::Contention,
        _ => Trouble::Outage,
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

/// 55P03 and 40P01, which diesel has no kinds for.
fn is_lock(message: &str) -> bool {
    message.contains("lock timeout")
        || message.contains("deadlock detected")
        || message.contains("could not obtain lock")
}

/// Class 22 (data exception) and class 54 (program limit), by Postgres's words; they are English wherever the role may say
/// that they shall be (a superuser, or whom one has granted it).
fn is_value_refused(message: &str) -> bool {
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
    REFUSED.iter().any(|words| message.contains(words))
}

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
