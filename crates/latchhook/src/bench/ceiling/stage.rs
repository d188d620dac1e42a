//! A thread for each stage, with a runtime of its own: no other thread is woken for what a stage does by itself.

use std::{fs, thread, time::Duration};

use anyhow::Context;
use tokio::{runtime::Builder, task::LocalSet};

/// The stages, as their threads are called.
pub(super) const NAMES: [&str; 4] = ["intake", "worker", "courier", "recorder"];

/// Starts a stage. What it cannot go on without ends the process.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn start<F>(name: &'static str, stage: impl FnOnce() -> F + Send + 'static) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let runtime = Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let work = move || {
        if let Err(error) = LocalSet::new().block_on(&runtime, stage()) {
            eprintln!("{name}: {error:#}");
            std::process::exit(1);
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(work)?;
    Ok(())
}

/// CPU time that the threads of this name have used, as Linux counts it; none where there is no /proc.
pub(super) fn cpu(name: &str) -> Duration {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let used = threads.filter_map(|thread| {
        let said = |file| fs::read_to_string(thread.path().join(file)).ok();
        let nanoseconds = said("schedstat")?.split(' ').next()?.parse().ok()?;
        (said("comm")?.trim() == name).then_some(Duration::from_nanos(nanoseconds))
    });
    used.sum()
}
