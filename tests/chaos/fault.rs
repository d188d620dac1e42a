//! The faults: what can go wrong, and what each is called in the report and in `docs/faults.md`.

use std::{fmt, time::Duration};

use latchhook::kill_points::POINTS;
use rand::{Rng, rngs::SmallRng, seq::IndexedRandom};

use crate::{customers::Mood, fleet::Name, proxy::CommitCut, stage::ENDPOINTS};

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// SIGKILL, at whatever it is doing.
    Kill(Name),
    /// SIGKILL at a named point, the nth time that the process passes it.
    KillAt { process: Name, point: &'static str, nth: u64 },
    /// SIGSTOP for longer than any lease, then SIGCONT.
    Freeze(Name),
    /// SIGTERM to each process of the fleet in turn, the next when the one before is back.
    RollingStop,
    /// One process's clock is wrong by so many seconds, then right again.
    ClockStep { process: Name, seconds: i64 },
    /// Redis is killed, and started again with its log.
    RedisRestart,
    /// Redis is at its `maxmemory`.
    RedisFull,
    /// Postgres is killed, and started again.
    PostgresRestart,
    /// A COMMIT on its way is cut: its outcome is unknown to who sent it.
    CutCommit { process: Name, when: CommitCut },
    /// What one process says to a store, and hears of it, takes its time.
    Latency { process: Name, store: Store },
    /// All connections of one process to a store are reset.
    Reset { process: Name, store: Store },
    /// One process's connections to a store stay, and nothing passes.
    BlackHole { process: Name, store: Store },
    /// A customer behaves badly.
    Customer { endpoint: usize, mood: &'static str },
    /// Redis is killed, and started again without its log.
    RedisEmpty,
    /// FLUSHALL.
    RedisFlush,
}

/// What a process talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// The queue, the claims.
    Redis,
    /// The ledger, the deliveries.
    Postgres,
}

/// How a customer can misbehave, by the class of the fault.
const MOODS: [&str; 10] = [
    "customer-hangs",
    "customer-drips",
    "customer-500",
    "customer-429",
    "customer-410",
    "customer-302",
    "customer-late",
    "customer-breaks-off",
    "customer-breaks-off-halfway",
    "customer-moody",
];

/// What is said of a delay that is noticed but breaks nothing.
pub(crate) const LATENCY: Duration = Duration::from_millis(50);

impl Fault {
    /// One of every kind, at processes and moments of chance's choosing.
    pub(crate) fn of_every_kind(rng: &mut SmallRng) -> Vec<Self> {
        let mut faults = vec![Self::RollingStop, Self::RedisRestart, Self::RedisFull, Self::PostgresRestart];
        for process in [Name::producer(rng), Name::worker(rng), Name::dispatcher(rng)] {
            faults.extend([Self::Kill(process), Self::Freeze(process)]);
        }
        for point in POINTS.into_iter().chain(["worker-between-commits"]) {
            let process = Name::that_passes(point, rng);
            // The largest groups are rare, everything else happens many times a second.
            let nth = if point == "worker-between-commits" { 1 } else { rng.random_range(1..20) };
            faults.push(Self::KillAt { process, point, nth });
        }
        for process in Name::with_a_clock_of_their_own() {
            // A customer refuses a signature that is five minutes old, and rightly.
            let most = if process.is_dispatcher() { 200 } else { 900 };
            let seconds = [-1, 1].choose(rng).copied().unwrap_or(1) * rng.random_range(60..most);
            faults.push(Self::ClockStep { process, seconds });
        }
        for when in [CommitCut::BeforeServer, CommitCut::AfterServer] {
            faults.push(Self::CutCommit { process: Name::worker(rng), when });
            faults.push(Self::CutCommit { process: Name::worker(rng), when });
        }
        for store in [Store::Redis, Store::Postgres] {
            faults.push(Self::Latency { process: Name::with(store, rng), store });
            faults.push(Self::Reset { process: Name::with(store, rng), store });
            faults.push(Self::BlackHole { process: Name::with(store, rng), store });
        }
        faults.extend(MOODS.map(|mood| Self::Customer { endpoint: rng.random_range(0..3), mood }));
        faults
    }

    /// One of any kind.
    pub(crate) fn of_any_kind(rng: &mut SmallRng) -> Self {
        let mut faults = Self::of_every_kind(rng);
        let chosen = rng.random_range(0..faults.len());
        faults.swap_remove(chosen)
    }

    /// What it is called.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill-random",
            Self::KillAt { .. } => "kill-at-point",
            Self::Freeze(_) => "freeze",
            Self::RollingStop => "rolling-sigterm",
            Self::ClockStep { .. } => "clock-step",
            Self::RedisRestart => "redis-restart",
            Self::RedisFull => "redis-oom",
            Self::PostgresRestart => "postgres-restart",
            Self::CutCommit { .. } => "cut-commit",
            Self::Latency { .. } => "latency",
            Self::Reset { .. } => "reset",
            Self::BlackHole { .. } => "black-hole",
            Self::Customer { mood, .. } => mood,
            Self::RedisEmpty => "redis-empty",
            Self::RedisFlush => "redis-flush",
        }
    }

    /// Whether a dispatcher may have forgotten, or been unable to record, that this endpoint said yes; and for how long
    /// after the fault that may still be so. A rolling stop is no excuse: who drains records.
    pub(crate) fn excuses(&self, endpoint: &str) -> Option<Duration> {
        let soon = Duration::from_secs(1);
        // Connections that were lost are noticed late, and made again with pauses.
        let later = Duration::from_secs(6);
        match self {
            Self::Kill(process) | Self::KillAt { process, .. } | Self::Freeze(process) => {
                process.is_dispatcher().then_some(soon)
            }
            Self::Latency { process, store } | Self::Reset { process, store } | Self::BlackHole { process, store } => {
                (process.is_dispatcher() && *store == Store::Postgres).then_some(later)
            }
            Self::PostgresRestart => Some(later),
            // It is answered after the deadline, or cut before the dispatcher has read the answer.
            Self::Customer { endpoint: which, mood } => {
                let hides_success = matches!(*mood, "customer-late" | "customer-breaks-off-halfway");
                (hides_success && ENDPOINTS[*which].0 == endpoint).then_some(soon)
            }
            _ => None,
        }
    }

    /// How a customer is to behave while it lasts.
    pub(crate) fn mood(name: &str) -> Mood {
        match name {
            "customer-hangs" => Mood::Hangs,
            "customer-drips" => Mood::Drips,
            "customer-429" => Mood::Answers(429, Some(("retry-after", "1".to_owned()))),
            "customer-410" => Mood::Answers(410, None),
            "customer-302" => Mood::Answers(302, Some(("location", "http://127.0.0.1:9/elsewhere".to_owned()))),
            "customer-late" => Mood::AnswersLate(Duration::from_secs(3)),
            "customer-breaks-off" => Mood::BreaksOff,
            "customer-breaks-off-halfway" => Mood::BreaksOffHalfway,
            "customer-moody" => Mood::Mixed(vec![Mood::Content, Mood::Answers(503, None), Mood::BreaksOff]),
            _ => Mood::Answers(500, None),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class())?;
        match self {
            Self::Kill(process) | Self::Freeze(process) => write!(f, " {process}"),
            Self::KillAt { process, point, nth } => write!(f, " {process} at {point}, time {nth}"),
            Self::ClockStep { process, seconds } => write!(f, " {process} by {seconds:+} s"),
            Self::CutCommit { process, when } => write!(f, " {process}, {when:?}"),
            Self::Latency { process, store } | Self::Reset { process, store } | Self::BlackHole { process, store } => {
                write!(f, " {process} and {store:?}")
            }
            Self::Customer { endpoint, .. } => write!(f, " (endpoint {endpoint})"),
            Self::RollingStop
            | Self::RedisRestart
            | Self::RedisFull
            | Self::PostgresRestart
            | Self::RedisEmpty
            | Self::RedisFlush => Ok(()),
        }
    }
}
