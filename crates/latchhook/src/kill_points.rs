//! Kill points: places in the stages at which a test has the process killed, as by `kill -9`, or has a task panic.
//!
//! A stage marks the place (`fail_point!("worker-after-commit")`), which is nothing at all unless this crate's feature
//! `kill-points` is on; `LATCHHOOK_KILL_AT` says which of them kills. Only tests are built with the feature.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, anyhow};
use rustix::process::{Signal, getpid, kill_process};

/// Names the points: `worker-after-commit`, or `worker-after-commit:37` for the 37th time that it is passed; several with
/// commas. A process that was started by hand can't be killed by accident: nobody sets this.
pub const VARIABLE: &str = "LATCHHOOK_KILL_AT";

/// Names points at which a task panics, every time that it is passed.
pub const PANIC_VARIABLE: &str = "LATCHHOOK_PANIC_AT";

/// The points that any run of the stage passes. The others depend on what it works on: `worker-between-commits` (a group
/// larger than a transaction may be), `worker-opens-SOURCE` and `worker-claims-SOURCE`.
pub const POINTS: [&str; 8] = [
    "producer-before-enqueue",
    "producer-after-enqueue",
    "worker-after-claim",
    "worker-in-transaction",
    "worker-after-commit",
    "worker-after-done",
    "dispatcher-after-lease",
    "dispatcher-after-answer",
];

/// The points that a forwarder passes, some of them in the producer that it embeds.
pub const FORWARDER_POINTS: [&str; 4] =
    ["producer-before-enqueue", "producer-after-enqueue", "forwarder-before-commit", "forwarder-after-commit"];

/// Arms what the environment names.
///
/// # Errors
/// When it is no list of points.
pub fn arm() -> anyhow::Result<()> {
    for point in points(PANIC_VARIABLE) {
        fail::cfg(&point, "panic").map_err(|error| anyhow!("{PANIC_VARIABLE}: {point}: {error}"))?;
        tracing::warn!(point, "a task of this process will panic");
    }
    for point in points(VARIABLE) {
        let (name, nth) = match point.split_once(':') {
            None => (point.as_str(), 1),
            Some((name, nth)) => (name, nth.parse().with_context(|| format!("{VARIABLE}: {point} ends in no number"))?),
        };
        kill_at(name, nth).map_err(|error| anyhow!("{VARIABLE}: {name}: {error}"))?;
        tracing::warn!(point = name, nth, "this process will kill itself");
    }
    Ok(())
}

fn points(variable: &str) -> Vec<String> {
    let wanted = std::env::var(variable).unwrap_or_default();
    wanted.split(',').map(str::trim).filter(|point| !point.is_empty()).map(str::to_owned).collect()
}

fn kill_at(name: &str, nth: u64) -> Result<(), String> {
    let passed = AtomicU64::new(0);
    fail::cfg_callback(name, move || {
        if passed.fetch_add(1, Ordering::Relaxed) + 1 == nth {
            let survived = kill_process(getpid(), Signal::KILL);
            panic!("nobody survives SIGKILL: {survived:?}");
        }
    })
}
