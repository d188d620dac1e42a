//! What a step could not do.

use database::{DatabaseError, QueryError};

/// Why a step failed: no connection, or a statement.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] DatabaseError),
    /// Nothing was leased.
    #[error("deliveries cannot be leased")]
    Lease(#[source] QueryError),
    /// What was leased and is not sent stays leased until that ends.
    #[error("leases cannot be given back")]
    GiveBack(#[source] QueryError),
    /// Nothing was due, and nobody knows until when.
    #[error("when the next delivery is due cannot be read")]
    NextDue(#[source] QueryError),
    /// Nothing of it was sent.
    #[error("a body cannot be read")]
    Body(#[source] QueryError),
}

impl DispatchError {
    /// For whoever is to do something about it.
    pub(crate) fn held_up_by(&self) -> &'static str {
        match self {
            Self::Connect(_) => "there is no connection to Postgres",
            Self::Lease(error) | Self::GiveBack(error) | Self::NextDue(error) | Self::Body(error) => {
                database::held_up_by(error)
            }
        }
    }
}
