//! Private Postgres and Redis servers, for one's own machine and for tests; never for production data.
//!
//! The cast: [`RedisServer`] and [`PostgresServer`], each a [`Server`], supervise one child process that runs binaries found by
//! [`binaries`]; a [`DataDir`] is a directory that only one process uses at a time, and a [`ScratchDir`] one that
//! vanishes with its process. They listen on Unix sockets in private directories, so there are no ports to collide and
//! nobody else on the machine can connect.
//!
//! The thing to know: a server never outlives us. It is stopped when its handle is dropped, and on Linux the kernel stops
//! it when we are killed. Where the kernel can't (macOS), the next start on the same directory stops what was left.

mod before_exec;
pub mod binaries;
mod directory;
mod postgres;
mod process;
mod redis;
mod server;

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

pub(crate) use self::process::signal;
pub use self::{
    directory::{DataDir, ScratchDir},
    postgres::PostgresServer,
    redis::{RedisServer, RedisSettings},
    server::Server,
};

/// What a server gives for keeping what it has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Everything: what was acknowledged is on the disk, as the promises ask of a production server.
    Durable,
    /// A Redis's: all but the last second or two, should the machine die (`appendfsync everysec`). A Postgres knows no such
    /// thing, and keeps everything.
    EverySecond,
    /// Nothing: for tests, whose data ends with them. It still survives the death of the server, though not of the machine.
    Fast,
}

/// Why a private server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its binaries are nowhere.
    #[error("found no {wanted}: type `{remedy}`, or set {variable}")]
    NotFound {
        /// The names that were looked for.
        wanted: &'static str,
        /// The one line to type.
        remedy: &'static str,
        /// The environment variable that says where they are.
        variable: &'static str,
    },
    /// A variable that says where the binaries are says a wrong place.
    #[error("{variable} names {path}, where there is no {wanted}")]
    Misplaced {
        /// The environment variable.
        variable: &'static str,
        /// What it says.
        path: PathBuf,
        /// What should be there.
        wanted: &'static str,
    },
    /// Another process uses the directory.
    #[error("{0} is in use by another latchhook: stop that one, or choose another --data-dir")]
    InUse(PathBuf),
    /// The directory cannot be used.
    #[error("cannot use {path}")]
    Directory {
        /// The directory, or a file in it.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory for sockets belongs to somebody else.
    #[error("{0} belongs to another user: remove it, or set TMPDIR to a directory of your own")]
    Foreign(PathBuf),
    /// The program could not be run.
    #[error("cannot run {program}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("{name} did not start ({status}); its log ends: {log}")]
    Ended {
        /// The server.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// It was not ready in time.
    #[error("{name} was not ready after {} s; its log ends: {log}", after.as_secs())]
    Slow {
        /// The server.
        name: &'static str,
        /// How long we waited.
        after: Duration,
        /// The last lines of its log.
        log: String,
    },
}
