//! A private Redis (or Valkey, which is as good).

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::{Signal, geteuid};

use super::{
    Durability, ServerError,
    before_exec::Rights,
    binaries,
    directory::{self, SocketDir},
    process::{Launch, Process, comes_true},
    server::{Place, Server},
};

const LOG_DIR: &str = "appendonlydir";
/// How large the log must be before it is rewritten.
const REWRITE_LOG_FROM: &str = "1gb";
/// Longer than any command that we ask here takes.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How a private Redis is to run. It never evicts: a full one refuses, as the production one must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// What it gives for keeping what it acknowledged.
    pub durability: Durability,
    /// Its `maxmemory` in bytes; unlimited if `None`.
    pub maxmemory: Option<u64>,
    /// Its binary; what [`binaries::redis`] finds if `None`.
    pub binary: Option<PathBuf>,
}

impl RedisSettings {
    /// As latchhook asks of a production server: every write is on the disk before it is acknowledged.
    pub fn durable() -> Self {
        Self { durability: Durability::Durable, maxmemory: None, binary: None }
    }

    /// As many run it: synced once a second, so that a machine that dies takes the last one or two with it.
    pub fn every_second() -> Self {
        Self { durability: Durability::EverySecond, ..Self::durable() }
    }

    /// For tests: writes are kept when the server is killed, but not when the machine is.
    pub fn fast() -> Self {
        Self { durability: Durability::Fast, ..Self::durable() }
    }
}

/// A private Redis on a Unix socket; stopped when dropped.
pub type RedisServer = Server<RedisPlace>;

/// Where a Redis has its things, and how it is to run there.
#[derive(Debug)]
pub struct RedisPlace {
    dir: PathBuf,
    sockets: SocketDir,
    settings: RedisSettings,
}

impl RedisServer {
    /// Starts one that keeps its data in `dir`, with what an earlier one left there. Returns once it answers.
    ///
    /// # Errors
    /// When there is no binary, the directory can't be used, or the server does not come up.
    pub fn start(dir: &Path, settings: &RedisSettings) -> Result<Self, ServerError> {
        let dir = directory::private(dir)?;
        let sockets = SocketDir::of(&dir, RedisPlace::SOCKET, &[geteuid().as_raw()])?;
        Self::at(RedisPlace { dir, sockets, settings: settings.clone() })
    }

    /// Its address, for `REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", directory::url_encoded(&self.socket(), b"/"))
    }

    /// The file that it appends every write to. Cut short, it is what a machine that lost power would leave.
    ///
    /// # Errors
    /// When its directory cannot be read.
    pub fn log_file(&self) -> io::Result<PathBuf> {
        let files = fs::read_dir(self.place.dir.join(LOG_DIR))?.map(|entry| entry.map(|entry| entry.path()));
        let files: Vec<PathBuf> = files.collect::<io::Result<_>>()?;
        // A rewrite begins a new one; the private ones here are never large enough for that.
        let log = files.into_iter().find(|file| file.to_string_lossy().ends_with(".incr.aof"));
        log.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Place for RedisPlace {
    const SOCKET: &str = "redis.sock";

    fn sockets(&self) -> &Path {
        self.sockets.path()
    }

    fn launch(&self) -> Result<Process, ServerError> {
        let Self { dir, settings, .. } = self;
        let (socket, log) = (self.socket(), dir.join("redis.log"));
        let binary = settings.binary.clone().map_or_else(binaries::redis, Ok)?;
        stop_orphan(&socket);
        let mut command = Command::new(binary);
        command.args(["--port", "0", "--unixsocketperm", "700", "--daemonize", "no", "--save", ""]);
        command.args(["--appendonly", "yes", "--maxmemory-policy", "noeviction"]);
        // What is written is forgotten within milliseconds: by default the log is rewritten every few seconds, and writers
        // wait meanwhile.
        command.args(["--auto-aof-rewrite-min-size", REWRITE_LOG_FROM]);
        command.arg("--unixsocket").arg(&socket).arg("--dir").arg(dir);
        command.args(["--maxmemory", &settings.maxmemory.unwrap_or(0).to_string()]);
        command.args(["--appendfsync", appendfsync(settings.durability), "--appenddirname", LOG_DIR]);
        // A machine that lost power leaves a log that ends in the middle of a write. What was acknowledged stands before it.
        command.args(["--aof-load-truncated", "yes"]);
        let launch = Launch { name: "Redis", command, log: &log, rights: Rights::Ours, stop: Signal::TERM };
        launch.until(|_| answers_pong(&socket))
    }
}

fn appendfsync(durability: Durability) -> &'static str {
    match durability {
        Durability::Durable => "always",
        Durability::EverySecond => "everysec",
        Durability::Fast => "no",
    }
}

/// Stops a server that outlived the process which started it: where the kernel does not see to that, or still is about it.
fn stop_orphan(socket: &Path) {
    if ask(socket, "SHUTDOWN").is_some() {
        comes_true(|| UnixStream::connect(socket).is_err());
    }
}

/// While it loads its data it answers with an error.
fn answers_pong(socket: &Path) -> bool {
    ask(socket, "PING").is_some_and(|answer| answer.starts_with(b"+PONG"))
}

fn ask(socket: &Path, command: &str) -> Option<Vec<u8>> {
    let mut connection = UnixStream::connect(socket).ok()?;
    connection.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
    connection.write_all(format!("{command}\r\n").as_bytes()).ok()?;
    let mut answer = [0; 64];
    let length = connection.read(&mut answer).ok()?;
    Some(answer[..length].to_vec())
}
