//! A private Postgres.
//!
//! It trusts whoever reaches its socket, and only this user does. Its one role is `latchhook`, its locale `C`, its
//! encoding UTF-8, on every machine.

use std::{
    fs, io,
    os::unix::{fs::chown, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Signal, geteuid};

use super::{
    Durability, ServerError,
    before_exec::{NOBODY, Rights},
    binaries,
    directory::{self, SocketDir},
    process::{Launch, Process, comes_true, signal},
    server::{Place, Server},
};

/// On a Unix socket the port is only a part of a file's name.
const PORT: &str = "5432";
/// Every stage's pool several times over, and a test run's.
const MAX_CONNECTIONS: &str = "300";
const CHILDREN_NOTICE_WITHIN: Duration = Duration::from_secs(10);
/// What Postgres calls a data directory whose last server's children are still there.
const IN_USE: &str = "pre-existing shared memory block";

/// A private Postgres on a Unix socket; stopped when dropped.
pub type PostgresServer = Server<PostgresPlace>;

/// Where a Postgres has its things, and how it is to run there.
#[derive(Debug)]
pub struct PostgresPlace {
    /// The cluster.
    data: PathBuf,
    /// Its own log, and that of `initdb`.
    log: PathBuf,
    /// The directory of its socket.
    sockets: SocketDir,
    rights: Rights,
    durability: Durability,
}

impl PostgresServer {
    /// Starts one that keeps its data in `dir`, with what an earlier one left there. Returns once it takes connections.
    ///
    /// # Errors
    /// When there are no binaries, the directory can't be used, or the server does not come up.
    pub fn start(dir: &Path, durability: Durability) -> Result<Self, ServerError> {
        let place = PostgresPlace::prepare(dir, durability)?;
        if !place.data.is_dir() {
            place.make_cluster()?;
        }
        Self::at(place)
    }

    /// The address of one of its databases, for `DATABASE_URL` and `psql`. The one that it has from the start is `postgres`.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://latchhook@{}/{database}", directory::url_encoded(self.place.sockets.path(), b""))
    }
}

impl Place for PostgresPlace {
    const SOCKET: &str = ".s.PGSQL.5432";

    fn sockets(&self) -> &Path {
        self.sockets.path()
    }

    /// A crashed server's last children end by themselves, as soon as they notice; until then Postgres refuses to start.
    fn launch(&self) -> Result<Process, ServerError> {
        self.stop_orphan();
        let deadline = Instant::now() + CHILDREN_NOTICE_WITHIN;
        loop {
            let launch = self.run("Postgres", self.postgres()?);
            match launch.until(|pid| self.lock_file_says_ready(pid)) {
                Err(ServerError::Ended { log, .. }) if log.contains(IN_USE) && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(20));
                }
                outcome => return outcome,
            }
        }
    }
}

impl PostgresPlace {
    fn prepare(dir: &Path, durability: Durability) -> Result<Self, ServerError> {
        let dir = directory::private(dir)?;
        let rights = rights();
        let us = geteuid().as_raw();
        let owners = if rights == Rights::Nobody { [us, NOBODY] } else { [us, us] };
        let sockets = SocketDir::of(&dir, Self::SOCKET, &owners)?;
        if rights == Rights::Nobody {
            for path in [dir.as_path(), sockets.path()] {
                chown(path, Some(NOBODY), Some(NOBODY)).map_err(directory::unusable(path))?;
            }
        }
        Ok(Self { data: dir.join("data"), log: dir.join("postgres.log"), sockets, rights, durability })
    }

    /// Makes it under another name first: what was interrupted is no cluster, and must not look like one.
    fn make_cluster(&self) -> Result<(), ServerError> {
        let unfinished = self.data.with_extension("unfinished");
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(directory::unusable(&unfinished)(error));
            }
            _ => {}
        }
        let mut initdb = Command::new(binaries::postgres()?.join("initdb"));
        initdb.args(["--username=latchhook", "--auth=trust", "--encoding=UTF8", "--locale=C", "--pgdata"]);
        initdb.arg(&unfinished).args((self.durability == Durability::Fast).then_some("--no-sync"));
        self.run("initdb", initdb).finish()?;
        fs::rename(&unfinished, &self.data).map_err(directory::unusable(&self.data))
    }

    fn postgres(&self) -> Result<Command, ServerError> {
        let mut postgres = Command::new(binaries::postgres()?.join("postgres"));
        postgres.arg("-D").arg(&self.data).arg("-k").arg(self.sockets.path()).args(["-p", PORT, "-N", MAX_CONNECTIONS]);
        postgres.args(["-c", "listen_addresses=", "-c", "unix_socket_permissions=0700"]);
        // Shared memory as files of its own: in /dev/shm they would outlive a crash, and Docker gives that 64 MB.
        postgres.args(["-c", "dynamic_shared_memory_type=mmap"]);
        if self.durability == Durability::Fast {
            postgres.args(["-F", "-c", "full_page_writes=off"]);
        }
        Ok(postgres)
    }

    fn run(&self, name: &'static str, mut command: Command) -> Launch<'_> {
        // Where root's file rights do not count, neither does the right to be in root's directories.
        command.current_dir(self.data.parent().unwrap_or(&self.data)).env("LC_ALL", "C").env_remove("PGDATA");
        Launch { name, command, log: &self.log, rights: self.rights, stop: Signal::INT }
    }

    /// Stops a server that outlived the process which started it: where the kernel does not see to that, or still is
    /// about it.
    fn stop_orphan(&self) {
        let Some(pid) = self.lock_file().and_then(|text| text.lines().next()?.trim().parse().ok()) else { return };
        if UnixStream::connect(self.socket()).is_ok() {
            signal(pid, Signal::INT);
            comes_true(|| self.lock_file().is_none());
        }
    }

    /// Its first line is the pid, its eighth what it is doing.
    fn lock_file_says_ready(&self, pid: u32) -> bool {
        let Some(text) = self.lock_file() else { return false };
        let mut lines = text.lines().map(str::trim);
        lines.next() == Some(pid.to_string().as_str()) && lines.nth(6) == Some("ready")
    }

    fn lock_file(&self) -> Option<String> {
        fs::read_to_string(self.data.join("postmaster.pid")).ok()
    }
}

/// Postgres refuses to run as root. Whether this machine allows namespaces of one's own (Docker's default does not) shows
/// only when one tries.
fn rights() -> Rights {
    static OF_ROOT: LazyLock<Rights> = LazyLock::new(|| {
        let (command, log, rights) = (Command::new("true"), Path::new("/dev/null"), Rights::OwnNamespace);
        let trial = Launch { name: "true", command, log, rights, stop: Signal::KILL };
        if trial.finish().is_ok() { Rights::OwnNamespace } else { Rights::Nobody }
    });
    if geteuid().is_root() { *OF_ROOT } else { Rights::Ours }
}
