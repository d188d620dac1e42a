//! A thread for each stage, with a runtime of its own: no other thread is woken for what a stage does by itself.

use std::thread;

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
