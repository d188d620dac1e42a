//! What `latchhook dev` stands on: a private Postgres and a private Redis in one directory, and commands run with them.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::ExitStatus,
};

use rustix::process::Signal;
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use crate::servers::{self, DataDir, Durability, PostgresServer, RedisServer, RedisSettings, ScratchDir, ServerError};

/// Where the servers keep their data if nobody says otherwise; below the current directory.
pub const DATA_DIR: &str = ".latchhook";

/// The `maxmemory` of a Redis that keeps its data, in bytes. With a limit, producers refuse above 75 % of it, here as in
/// production; 1 GiB holds more than anybody queues by hand, and is less than any machine has that builds this.
const MAX_MEMORY: u64 = 1 << 30;

/// A Postgres and a Redis of our own; stopped when dropped.
#[derive(Debug)]
pub struct PrivateServers {
    postgres: PostgresServer,
    redis: RedisServer,
    /// Last, because what is dropped last is given back, or removed, last.
    home: Home,
}

#[derive(Debug)]
enum Home {
    Kept(DataDir),
    Scratch(ScratchDir),
}

impl PrivateServers {
    /// Starts both with what they kept in `data_dir`, which is made if need be. They keep all they acknowledge.
    ///
    /// # Errors
    /// When another process uses the directory, binaries are missing, or a server does not come up.
    pub fn start(data_dir: &Path) -> Result<Self, ServerError> {
        let home = DataDir::take(data_dir)?;
        let path = home.path().to_owned();
        let redis = RedisSettings { maxmemory: Some(MAX_MEMORY), ..RedisSettings::durable() };
        Self::start_in(&path, Home::Kept(home), Durability::Durable, &redis)
    }

    /// Starts both empty, in memory where there is room, for data that ends with this process.
    ///
    /// # Errors
    /// When binaries are missing, or a server does not come up.
    pub fn scratch() -> Result<Self, ServerError> {
        let home = ScratchDir::new()?;
        let path = home.path().to_owned();
        Self::start_in(&path, Home::Scratch(home), Durability::Fast, &RedisSettings::fast())
    }

    fn start_in(path: &Path, home: Home, postgres: Durability, redis: &RedisSettings) -> Result<Self, ServerError> {
        let redis = RedisServer::start(&path.join("redis"), redis)?;
        let postgres = PostgresServer::start(&path.join("postgres"), postgres)?;
        Ok(Self { postgres, redis, home })
    }

    /// Where they keep their data.
    pub fn directory(&self) -> &Path {
        match &self.home {
            Home::Kept(dir) => dir.path(),
            Home::Scratch(dir) => dir.path(),
        }
    }

    /// The `DATABASE_URL` of the Postgres.
    pub fn database_url(&self) -> String {
        self.postgres.url("postgres")
    }

    /// The `REDIS_URL` of the Redis.
    pub fn redis_url(&self) -> String {
        self.redis.url()
    }
}

/// Runs a command in the foreground with `DATABASE_URL` and `REDIS_URL` set, to its end. SIGTERM is passed on; so is
/// SIGINT, unless it comes from a terminal, which sends it to the command itself.
///
/// # Errors
/// When the command can't be run, or is empty.
pub async fn exec(servers: &PrivateServers, command: &[OsString]) -> io::Result<ExitStatus> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut command = Command::new(program);
    command.args(arguments).env("DATABASE_URL", servers.database_url()).env("REDIS_URL", servers.redis_url());
    let mut child = command.spawn()?;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            _ = terminations.recv() => pass_on(&child, Signal::TERM),
            _ = interrupts.recv() => if !io::stdin().is_terminal() { pass_on(&child, Signal::INT) },
        }
    }
}

fn pass_on(child: &Child, signal: Signal) {
    if let Some(pid) = child.id() {
        servers::signal(pid, signal);
    }
}

/// What a shell would say of how a command ended: its own code, or 128 and the signal.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
