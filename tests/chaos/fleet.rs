//! The fleet: real processes of the real binary, each behind proxies of its own, each brought back when it is gone.
//!
//! Whoever ends otherwise than we had it end, or panics, is a surprise; a run with surprises has failed.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use latchhook::kill_points;
use rand::{Rng, rngs::SmallRng};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use crate::{
    fault::Store,
    lock::lock,
    proxy::{Proxy, Weather},
    stores::{PREFIX, Stores},
};

/// How long a supervisor waits before it starts a dead process again.
const BACK_AFTER: Duration = Duration::from_millis(300);
/// As the stages promise: less than what a platform waits before it kills.
const DRAINED_WITHIN: Duration = Duration::from_secs(30);
/// Shorter than in production, so that the dead are noticed within seconds.
const TUNING: [&str; 6] = [
    "--worker-lease=2s",
    "--claim-lease=3s",
    "--claim-memory=5s",
    "--request-deadline=2s",
    "--record-within=2s",
    "--retry-after=200ms,500ms,1s,1s,1s,1s,1s,1s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s",
];

/// A stage of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Role {
    Producer,
    Worker,
    Dispatcher,
}

const ROLES: [(Role, usize); 3] = [(Role::Producer, 2), (Role::Worker, 3), (Role::Dispatcher, 2)];

/// What a process is called: `worker-2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    role: Role,
    number: usize,
}

impl Name {
    fn any(role: Role, rng: &mut SmallRng) -> Self {
        let (_, count) = ROLES[role as usize];
        Self { role, number: rng.random_range(1..=count) }
    }

    /// Some producer.
    pub(crate) fn producer(rng: &mut SmallRng) -> Self {
        Self::any(Role::Producer, rng)
    }

    /// Some worker.
    pub(crate) fn worker(rng: &mut SmallRng) -> Self {
        Self::any(Role::Worker, rng)
    }

    /// Some dispatcher.
    pub(crate) fn dispatcher(rng: &mut SmallRng) -> Self {
        Self::any(Role::Dispatcher, rng)
    }

    /// Some process that needs this store.
    pub(crate) fn with(store: Store, rng: &mut SmallRng) -> Self {
        let needy = match store {
            Store::Redis => [Role::Producer, Role::Worker],
            Store::Postgres => [Role::Worker, Role::Dispatcher],
        };
        Self::any(needy[rng.random_range(0..2)], rng)
    }

    /// Some process of the stage that a kill point is in.
    pub(crate) fn that_passes(point: &str, rng: &mut SmallRng) -> Self {
        let of_stage = |(role, _): &(Role, usize)| point.starts_with(&role.to_string());
        let role = ROLES.iter().find(|role| of_stage(role)).map_or(Role::Worker, |(role, _)| *role);
        Self::any(role, rng)
    }

    /// One process of each stage has a clock that can be set: the last.
    pub(crate) fn with_a_clock_of_their_own() -> [Self; 3] {
        ROLES.map(|(role, count)| Self { role, number: count })
    }

    /// Whether it sends.
    pub(crate) fn is_dispatcher(self) -> bool {
        self.role == Role::Dispatcher || self.sends_what_it_commits()
    }

    /// Whether it is a worker that hands over what it commits to a dispatcher of its own process: the first.
    fn sends_what_it_commits(self) -> bool {
        self.role == Role::Worker && self.number == 1
    }

    /// As `--roles` has it.
    fn roles(self) -> String {
        if self.sends_what_it_commits() { "worker,dispatcher".to_owned() } else { self.role.to_string() }
    }

    /// Whether it commits.
    pub(crate) fn is_worker(self) -> bool {
        self.role == Role::Worker
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => "producer",
            Self::Worker => "worker",
            Self::Dispatcher => "dispatcher",
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.role, self.number)
    }
}

/// A process that is kept running.
pub(crate) struct Member {
    pub(crate) name: Name,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
    pid: watch::Receiver<Option<u32>>,
    redis: Proxy,
    postgres: Proxy,
    clock: Clock,
}

enum Order {
    Kill,
    Arm { point: String, died: oneshot::Sender<Instant> },
    Stop { back: oneshot::Sender<()> },
    End { ended: oneshot::Sender<()> },
}

/// What nobody had ordered.
pub(crate) type Surprises = Arc<Mutex<Vec<String>>>;

/// All processes.
pub(crate) struct Fleet {
    pub(crate) members: Vec<Member>,
    pub(crate) surprises: Surprises,
    logs: PathBuf,
}

impl Fleet {
    /// Starts them over these stores.
    pub(crate) async fn start(stores: &Stores, master_key: &str, home: &Path) -> anyhow::Result<Self> {
        let (logs, surprises) = (home.join("logs"), Surprises::default());
        fs::create_dir_all(&logs)?;
        let names: Vec<_> =
            ROLES.into_iter().flat_map(|(role, count)| (1..=count).map(move |number| Name { role, number })).collect();
        let mut members = Vec::new();
        for (name, address) in names.iter().zip(free_addresses(names.len())?) {
            members.push(Member::start(*name, address, stores, master_key, &logs, &surprises).await?);
        }
        Ok(Self { members, surprises, logs })
    }

    /// One of them.
    pub(crate) fn member(&self, name: Name) -> &Member {
        let found = self.members.iter().find(|member| member.name == name);
        found.expect("every name that chance makes is that of a member")
    }

    /// Where the producers listen.
    pub(crate) fn intakes(&self) -> Vec<SocketAddr> {
        let producers = self.members.iter().filter(|member| member.name.role == Role::Producer);
        producers.map(|member| member.address).collect()
    }

    /// Everybody has fair weather, and nobody is frozen.
    pub(crate) fn heal(&self) {
        for member in &self.members {
            member.set(Store::Redis, Weather::Fair);
            member.set(Store::Postgres, Weather::Fair);
            member.signal(Signal::CONT);
            member.clock.set(0);
        }
    }

    /// Ends all of them in order; what they panicked of is a surprise.
    pub(crate) async fn end(&self) -> anyhow::Result<()> {
        for member in &self.members {
            let (ended, end) = oneshot::channel();
            let _gone = member.orders.send(Order::End { ended });
            timeout(2 * DRAINED_WITHIN, end).await.with_context(|| format!("{} does not end", member.name))??;
        }
        for entry in fs::read_dir(&self.logs)? {
            let path = entry?.path();
            let log = fs::read_to_string(&path)?;
            for line in log.lines().filter(|line| line.contains("panicked")) {
                surprise(&self.surprises, format!("{}: {line}", path.display()));
            }
        }
        Ok(())
    }

    /// The most memory that any process of each stage has ever had, in bytes, as far as one look a second tells.
    pub(crate) fn memory(&self, most: &mut BTreeMap<String, u64>) {
        for member in &self.members {
            let Some(bytes) = (*member.pid.borrow()).and_then(high_water) else { continue };
            let entry = most.entry(member.name.role.to_string()).or_default();
            *entry = bytes.max(*entry);
        }
    }
}

fn high_water(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn surprise(surprises: &Surprises, what: String) {
    lock(surprises).push(what);
}

impl Member {
    async fn start(
        name: Name,
        address: SocketAddr,
        stores: &Stores,
        master_key: &str,
        logs: &Path,
        surprises: &Surprises,
    ) -> anyhow::Result<Self> {
        let redis = Proxy::start(stores.redis_socket()).await?;
        let postgres = Proxy::start(stores.postgres_socket()).await?;
        let clock = Clock::of(name, logs)?;
        let launch = Launch {
            name,
            arguments: vec!["run".to_owned(), format!("--roles={}", name.roles()), format!("--listen={address}")],
            environment: vec![
                ("DATABASE_URL", stores.database_url_through(postgres.address())),
                ("REDIS_URL", format!("redis://{}", redis.address())),
                ("LATCHHOOK_PREFIX", PREFIX.to_owned()),
                ("LATCHHOOK_MASTER_KEY", master_key.to_owned()),
                ("LATCHHOOK_ALLOW_PRIVATE_ENDPOINTS", "127.0.0.0/8".to_owned()),
                ("RUST_BACKTRACE", "1".to_owned()),
            ],
            clock: clock.environment(),
            log: logs.join(format!("{name}.log")),
            surprises: surprises.clone(),
        };
        let (orders, inbox) = mpsc::unbounded_channel();
        let (running, pid) = watch::channel(None);
        tokio::spawn(supervise(launch, inbox, running));
        Ok(Self { name, address, orders, pid, redis, postgres, clock })
    }

    /// SIGKILL; it is started again.
    pub(crate) fn kill(&self) {
        let _gone = self.orders.send(Order::Kill);
    }

    /// Has it started again so that it kills itself at this point. Says when it did; an error if it never does.
    pub(crate) fn arm(&self, point: String) -> oneshot::Receiver<Instant> {
        let (died, death) = oneshot::channel();
        let _gone = self.orders.send(Order::Arm { point, died });
        death
    }

    /// SIGTERM; comes back when the next one is up.
    pub(crate) async fn restart(&self) -> anyhow::Result<()> {
        let (back, is_back) = oneshot::channel();
        let _gone = self.orders.send(Order::Stop { back });
        is_back.await.map_err(|_| anyhow!("{} is not supervised any more", self.name))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = *self.pid.borrow();
        if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
            // It fails only if the process has ended.
            let _ended = kill_process(pid, signal);
        }
    }

    /// What its way to a store is like from now on.
    pub(crate) fn set(&self, store: Store, weather: Weather) {
        self.proxy(store).set(weather);
    }

    /// Its way to a store.
    pub(crate) fn proxy(&self, store: Store) -> &Proxy {
        match store {
            Store::Redis => &self.redis,
            Store::Postgres => &self.postgres,
        }
    }

    /// Sets its clock wrong by so many seconds.
    pub(crate) fn set_clock(&self, seconds: i64) {
        self.clock.set(seconds);
    }
}

/// How a process is started.
struct Launch {
    name: Name,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    clock: Vec<(&'static str, String)>,
    log: PathBuf,
    surprises: Surprises,
}

impl Launch {
    fn spawn(&self, armed: Option<&str>) -> anyhow::Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(tests::binary());
        command.args(&self.arguments).args(TUNING).env_clear();
        command.envs(self.environment.iter().chain(&self.clock).map(|(name, value)| (*name, value)));
        command.envs(armed.map(|point| (kill_points::VARIABLE, point)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        command.spawn().with_context(|| format!("{} cannot be started", self.name))
    }

    /// Nobody has asked it to end, unless it was armed and its point came.
    fn judge(&self, status: ExitStatus, was_armed: bool) {
        if !(was_armed && status.signal() == Some(Signal::KILL.as_raw())) {
            surprise(&self.surprises, format!("{} ended by itself: {status}; see {}", self.name, self.log.display()));
        }
    }
}

/// What is to kill a process, and who waits for it.
type Arm = (String, oneshot::Sender<Instant>);

/// Keeps a process running, and does as ordered with it. Of several points that it is to die at, one after the other.
async fn supervise(launch: Launch, mut orders: mpsc::UnboundedReceiver<Order>, running: watch::Sender<Option<u32>>) {
    let mut arms: VecDeque<Arm> = VecDeque::new();
    let mut back: Option<oneshot::Sender<()>> = None;
    loop {
        let is_armed = !arms.is_empty();
        let mut child = match launch.spawn(arms.front().map(|(point, _)| point.as_str())) {
            Ok(child) => child,
            Err(error) => {
                surprise(&launch.surprises, format!("{error:#}"));
                return;
            }
        };
        running.send_replace(child.id());
        if let Some(back) = back.take() {
            let _gone = back.send(());
        }
        match end_or_order(&mut child, &mut orders, &mut arms, is_armed).await {
            End::ByItself(status) => {
                match status {
                    Ok(status) => launch.judge(status, is_armed),
                    Err(error) => surprise(&launch.surprises, format!("{}: {error}", launch.name)),
                }
                if let Some((_, died)) = arms.pop_front() {
                    let _gone = died.send(Instant::now());
                }
                sleep(BACK_AFTER).await;
            }
            End::Killed => {
                let _ended = child.kill().await;
                sleep(BACK_AFTER).await;
            }
            End::ToBeArmed => drain(&launch, &mut child).await,
            End::Stopped(asked) => {
                drain(&launch, &mut child).await;
                back = Some(asked);
            }
            End::Ended(ended) => {
                drain(&launch, &mut child).await;
                let _gone = ended.send(());
                return;
            }
            End::Abandoned => return,
        }
        running.send_replace(None);
    }
}

/// Why a process is not to run on.
enum End {
    ByItself(io::Result<ExitStatus>),
    Killed,
    ToBeArmed,
    Stopped(oneshot::Sender<()>),
    Ended(oneshot::Sender<()>),
    Abandoned,
}

/// Waits for the end of a process, or for an order that ends it. A process that is armed already keeps its point.
async fn end_or_order(
    child: &mut Child,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    arms: &mut VecDeque<Arm>,
    is_armed: bool,
) -> End {
    loop {
        tokio::select! {
            status = child.wait() => return End::ByItself(status),
            order = orders.recv() => match order {
                Some(Order::Arm { point, died }) => {
                    arms.push_back((point, died));
                    if !is_armed {
                        return End::ToBeArmed;
                    }
                }
                Some(Order::Kill) => return End::Killed,
                Some(Order::Stop { back }) => return End::Stopped(back),
                Some(Order::End { ended }) => return End::Ended(ended),
                None => return End::Abandoned,
            }
        }
    }
}

/// SIGTERM, and the wait for what it promises. Where a store is away or the process is frozen it may be late, and is
/// killed, as a platform would; only an end of another kind is a surprise.
async fn drain(launch: &Launch, child: &mut Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ended = kill_process(pid, Signal::TERM);
    }
    match timeout(DRAINED_WITHIN, child.wait()).await {
        Ok(Ok(status)) if status.success() => {}
        // SIGTERM came before the process had set out to listen to it.
        Ok(Ok(status)) if status.signal() == Some(Signal::TERM.as_raw()) => {}
        Ok(Ok(status)) if status.signal() == Some(Signal::KILL.as_raw()) => {}
        Ok(Ok(status)) => surprise(&launch.surprises, format!("{} did not drain: {status}", launch.name)),
        Ok(Err(error)) => surprise(&launch.surprises, format!("{}: {error}", launch.name)),
        Err(_) => {
            surprise(&launch.surprises, format!("{} was not drained within {DRAINED_WITHIN:?}", launch.name));
            let _ended = child.kill().await;
        }
    }
}

/// So many that nobody listens on, one for each process. Below those that the system gives to outgoing connections: a
/// process that is dead for a while finds its address free when it comes back.
fn free_addresses(count: usize) -> anyhow::Result<Vec<SocketAddr>> {
    let is_free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    for _ in 0..100 {
        let first = rand::random_range(15_000..30_000);
        let addresses = (first..).take(count).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let addresses: Vec<_> = addresses.collect();
        if addresses.iter().all(is_free) {
            return Ok(addresses);
        }
    }
    bail!("there are no {count} free ports in a row between 15000 and 30000")
}

/// A process's clock, which libfaketime reads off a file; the monotonic one is left alone, as it is by whoever sets a
/// machine's clock.
struct Clock {
    file: Option<PathBuf>,
    library: PathBuf,
}

/// Where Debian's package `libfaketime` puts it.
const LIBRARIES: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"];

impl Clock {
    fn of(name: Name, home: &Path) -> anyhow::Result<Self> {
        let library = LIBRARIES.iter().map(PathBuf::from).find(|path| path.is_file());
        let library = library.context("there is no libfaketime: type `apt-get install -y libfaketime`")?;
        let steps = Name::with_a_clock_of_their_own().contains(&name);
        let clock = Self { file: steps.then(|| home.join(format!("{name}.clock"))), library };
        clock.set(0);
        Ok(clock)
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let Some(file) = &self.file else { return Vec::new() };
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    fn set(&self, seconds: i64) {
        if let Some(file) = &self.file {
            // Renamed into place: a process may read it at this moment.
            let next = file.with_extension("next");
            let set = fs::write(&next, format!("{seconds:+}\n")).and_then(|()| fs::rename(&next, file));
            set.expect("the directory of the logs can be written");
        }
    }
}
