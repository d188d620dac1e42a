//! The binary in a process of its own, over a pipeline's stores: to be killed, frozen, and stopped in order.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic, its helpers too")]

use std::{
    env,
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use latchhook::servers::ScratchDir;
use rustix::process::{Pid, Signal, kill_process};

use crate::Pipeline;

/// Longer than anything here takes, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// A process, most often `latchhook run`; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    dir: ScratchDir,
}

impl Process {
    /// Starts these roles over the stores of a pipeline, with further arguments, and waits until they run. What is to happen
    /// to it at which point, `fate` says, in variables of [`latchhook::kill_points`].
    ///
    /// # Panics
    /// When it does not run, or was not built with its kill points.
    pub async fn start(pipeline: &Pipeline, roles: &str, fate: Option<(&str, &str)>, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command
            .args(["run", "--listen=127.0.0.1:0"])
            .arg(format!("--roles={roles}"))
            .args(arguments)
            .env_remove("LATCHHOOK_THREADS")
            .envs(pipeline.environment())
            .envs(fate);
        // One that has much to do at once may be dead before we look.
        let process = Self::spawn(command, "listens on").await;
        let is_armed = process.log().contains("latchhook::kill_points");
        assert_eq!(is_armed, fate.is_some(), "built without kill points: build with ./justw test, which has them");
        process
    }

    /// Starts any command, and waits until it has said these words, or has ended.
    ///
    /// # Panics
    /// When there is no such program.
    pub async fn spawn(mut command: Command, words: &str) -> Self {
        let dir = ScratchDir::new().unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child =
            command.spawn().unwrap_or_else(|error| panic!("{:?} cannot be run: {error}", command.get_program()));
        let mut process = Self { child, dir };
        process.until(|process| process.log().contains(words) || process.ended().is_some()).await;
        process
    }

    /// Waits until it has said these words so often.
    pub async fn says(&mut self, words: &str, times: usize) {
        self.until(|process| process.log().matches(words).count() >= times).await;
    }

    /// Where it serves HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address_behind("listens on http://")
    }

    /// The address that it said behind these words.
    pub fn address_behind(&self, words: &str) -> SocketAddr {
        let log = self.log();
        let (_, rest) = log.split_once(words).expect("it said where it listens");
        rest.lines().next().unwrap().parse().unwrap()
    }

    /// All that it has said so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("log")).unwrap()).into_owned()
    }

    /// How many of its threads bear this name, as `ps -T` shows them.
    #[cfg(target_os = "linux")]
    pub fn threads(&self, name: &str) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
        names.filter(|found| found.trim() == name).count()
    }

    /// Waits until it has died, which must be by SIGKILL.
    pub async fn was_killed(&mut self) {
        self.until(|process| process.ended().is_some()).await;
        assert_eq!(self.ended().unwrap().signal(), Some(Signal::KILL.as_raw()), "{}", self.log());
    }

    /// Waits until it has ended.
    pub async fn ends(&mut self) -> ExitStatus {
        self.until(|process| process.ended().is_some()).await;
        self.ended().unwrap()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Has it drain and end, which must be with exit code 0; gives what it had said by then.
    pub async fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        self.until(|process| process.ended().is_some()).await;
        assert!(self.ended().unwrap().success(), "{}", self.log());
        self.log()
    }

    /// Has it stand still: nothing of it runs until it is thawed, and nobody is told.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Has it go on as if no time had passed.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn until(&mut self, is_so: impl Fn(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "it never came true; the process said:\n{}", self.log());
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("process {} said:\n{}", self.child.id(), self.log());
        }
    }
}

/// The `latchhook` that was built with this program. Cargo names a binary only to the tests of its own package; programs
/// of ours are built beside it, tests in `deps/`.
///
/// # Panics
/// When there is none.
pub fn binary() -> PathBuf {
    let this = env::current_exe().unwrap();
    let places = [this.with_file_name("latchhook"), this.parent().unwrap().with_file_name("latchhook")];
    let found = places.iter().find(|place| place.is_file()).cloned();
    found.unwrap_or_else(|| panic!("{} is missing: type `cargo build --workspace`", places[0].display()))
}

/// An example that was built with this test.
///
/// # Panics
/// When there is none.
pub fn example(name: &str) -> PathBuf {
    let deps = env::current_exe().unwrap();
    let example = deps.parent().unwrap().with_file_name("examples").join(name);
    assert!(example.is_file(), "{} is missing: type `cargo build --workspace --all-targets`", example.display());
    example
}
