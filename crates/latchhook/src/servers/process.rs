//! One server as a child process: started, watched until it is ready, stopped.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        LazyLock,
        mpsc::{Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    ServerError,
    before_exec::{self, Rights},
};

/// Cold, on a busy disk, recovering after a crash: still far below this.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// A fast stop writes a checkpoint at most.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);
const LAST_LINES: usize = 4;

/// What is to run, and how it is to end.
pub(super) struct Launch<'a> {
    pub(super) name: &'static str,
    pub(super) command: Command,
    pub(super) log: &'a Path,
    pub(super) rights: Rights,
    /// What makes it stop in order, fast.
    pub(super) stop: Signal,
}

/// A child process; stopped when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    stop: Signal,
}

impl Launch<'_> {
    /// Runs it, and waits until it is ready.
    pub(super) fn until(self, is_ready: impl Fn(u32) -> bool) -> Result<Process, ServerError> {
        let (name, log, stop) = (self.name, self.log, self.stop);
        let mut process = Process { child: self.spawn()?, stop };
        let deadline = Instant::now() + READY_WITHIN;
        while !is_ready(process.pid()) {
            if let Some(status) = process.ended() {
                return Err(ServerError::Ended { name, status, log: last_lines(log) });
            }
            if Instant::now() >= deadline {
                return Err(ServerError::Slow { name, after: READY_WITHIN, log: last_lines(log) });
            }
            thread::sleep(PAUSE);
        }
        Ok(process)
    }

    /// Runs it to its end, which must be a good one.
    pub(super) fn finish(self) -> Result<(), ServerError> {
        let (name, log, program) = (self.name, self.log, self.program());
        let status = self.spawn()?.wait().map_err(|source| ServerError::Spawn { program, source })?;
        if status.success() { Ok(()) } else { Err(ServerError::Ended { name, status, log: last_lines(log) }) }
    }

    fn program(&self) -> PathBuf {
        PathBuf::from(self.command.get_program())
    }

    fn spawn(mut self) -> Result<Child, ServerError> {
        let unusable = |source| ServerError::Directory { path: self.log.to_owned(), source };
        let log = File::create(self.log).map_err(unusable)?;
        let log_too = log.try_clone().map_err(unusable)?;
        let program = self.program();
        // A group of its own, so that ^C in the terminal reaches us alone, and we stop the servers in order.
        self.command.stdin(Stdio::null()).stdout(log).stderr(log_too).process_group(0);
        before_exec::arrange(&mut self.command, self.rights, self.stop);
        spawn_on_keeper(self.command).map_err(|source| ServerError::Spawn { program, source })
    }
}

impl Process {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash would. It has ended when this returns.
    pub(super) fn kill(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it in order; at once if it takes too long.
    pub(super) fn stop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        signal(self.pid(), self.stop);
        let deadline = Instant::now() + STOPPED_WITHIN;
        while self.ended().is_none() && Instant::now() < deadline {
            thread::sleep(PAUSE);
        }
        self.kill();
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends a signal; to nobody, if the process has ended.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Waits, for as long as a server may take to stop. Whether it came true.
pub(super) fn comes_true(condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + STOPPED_WITHIN;
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        thread::sleep(PAUSE);
    }
    false
}

/// "When its parent dies" means to the kernel: when the *thread* ends that spawned it. So all are spawned by one thread
/// that ends with the process; a thread of a runtime's pool may end when it idles, and would take the servers with it.
fn spawn_on_keeper(command: Command) -> io::Result<Child> {
    type Order = (Command, SyncSender<io::Result<Child>>);
    static KEEPER: LazyLock<Sender<Order>> = LazyLock::new(|| {
        let (orders, inbox) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                // Nobody listens only if the caller panicked, which it can't between sending and receiving.
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });

    let (answer, outcome) = sync_channel(1);
    KEEPER.send((command, answer)).map_err(io::Error::other)?;
    outcome.recv().map_err(io::Error::other)?
}

fn last_lines(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join(" | ")
}
