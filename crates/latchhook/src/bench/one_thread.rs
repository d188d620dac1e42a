//! Work on one thread with a runtime of its own: no other thread is woken for it.

use std::thread;

use anyhow::Context;
use tokio::{runtime::Builder, sync::oneshot};

/// Does it there, and gives what came of it.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) async fn run<T: Send + 'static>(
    name: &str,
    work: impl Future<Output = T> + Send + 'static,
) -> anyhow::Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let (done, outcome) = oneshot::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || done.send(runtime.block_on(work)))?;
    outcome.await.context("its thread has ended without it")
}
