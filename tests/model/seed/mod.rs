//! The algorithms before latchhook, as scripts that two workers go through: what a worker does with a delivery of a message,
//! command by command. The checker puts the commands of both in every order, and lets any of them fail.

mod model;

pub(crate) use model::{Promise, Seed};

/// What a worker says to Redis or to Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Command {
    /// Is the key there? Then the delivery is a duplicate.
    Get,
    SetEx,
    /// Set the key if nobody has. Somebody has: then the delivery is a duplicate.
    SetNx,
    Del,
    /// Is the message there? Then the delivery is a duplicate.
    Select,
    Insert,
    Commit,
}

/// How a delivery is worked on, to its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Algorithm {
    pub script: &'static [Command],
    /// Who fails lets go of the key.
    pub releases: bool,
}

/// A look, a second look, then the key: three commands that are not one.
pub(crate) const GET_THEN_SETEX: Algorithm = Algorithm {
    script: &[Command::Get, Command::Select, Command::SetEx, Command::Insert, Command::Commit],
    releases: false,
};

/// One atomic command; the key stays for 24 hours, longer than this model.
pub(crate) const SET_NX: Algorithm =
    Algorithm { script: &[Command::Select, Command::SetNx, Command::Insert, Command::Commit], releases: false };

/// The obvious repair: whoever is through lets go, and whoever fails.
pub(crate) const SET_NX_AND_RELEASE: Algorithm = Algorithm {
    script: &[Command::Select, Command::SetNx, Command::Insert, Command::Commit, Command::Del],
    releases: true,
};
