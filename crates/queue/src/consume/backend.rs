//! What apalis calls a backend: here, the receiving end of a channel.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    task::{Task, builder::TaskBuilder, task_id::TaskId},
    worker::context::WorkerContext,
};
use apalis_redis::Config;
use tokio::sync::mpsc::Receiver;
use tower_layer::Identity;

use crate::Held;

/// Jobs that the fetcher has fetched. Cannot fail, so no error of Redis ends the worker.
pub(super) struct FetchedJobs {
    pub(super) jobs: Receiver<Held>,
    pub(super) config: Config,
}

impl Backend for FetchedJobs {
    type Task = Task<Held>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Task<Held>, Infallible>>> {
        self.jobs.poll_recv(cx).map(|held| held.map(|held| Ok(TaskBuilder::new(held).build())))
    }

    /// What is still in the channel was not started; the life gives it back when it leaves.
    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for FetchedJobs {
    type Args = Held;
    type Id = TaskId;
    /// The arguments arrive as they are: apalis decodes nothing, so nothing can be undecodable to it.
    type Kind = Ephemeral;
    type Config = Config;
    /// No acknowledgement layer: whoever does the work settles it, a group at a time.
    type Layer = Identity;

    fn config(&self) -> &Config {
        &self.config
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
