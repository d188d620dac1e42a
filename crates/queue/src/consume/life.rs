//! One life of a worker, from its registration to its farewell.

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use apalis::prelude::WorkerBuilderExt;
use apalis_core::{
    error::WorkerError,
    worker::{builder::WorkerBuilder, context::WorkerContext, event::Event},
};
use futures::{FutureExt, Stream, StreamExt};
use rand::Rng;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    ConsumerSettings,
    backend::FetchedJobs,
    fetcher::Fetcher,
    holding::Holding,
    keeper::{Keeper, beat, defer_panicked, leave},
};
use crate::{Held, Inbound, RedisError};

/// A registered worker.
pub(super) struct Life {
    inbound: Inbound,
    settings: ConsumerSettings,
    worker: Arc<str>,
    holding: Holding,
}

impl Life {
    /// Registers under a name that nobody has had: a name that comes back can be refused, or take over a stranger's
    /// jobs.
    pub(super) async fn begin(inbound: &Inbound, settings: &ConsumerSettings) -> Result<Self, RedisError> {
        let worker: Arc<str> = new_name().into();
        beat(inbound, &worker, settings.lease, true).await?;
        tracing::info!(worker.name = %worker, "queue.worker.registered");
        Ok(Self { inbound: inbound.clone(), settings: settings.clone(), worker, holding: Holding::default() })
    }

    /// Works until told to stop, or taken for dead; then drains, gives back the rest, and leaves.
    pub(super) async fn live<F, Fut>(
        self,
        wake: &Arc<Notify>,
        pause: &watch::Receiver<bool>,
        stop: &CancellationToken,
        handle: F,
    ) where
        F: Fn(Held) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let over = stop.child_token();
        let (sender, jobs) = mpsc::channel(self.settings.concurrency.min(self.settings.fetch_jobs));
        let fetcher = self.fetcher(sender, wake, pause, &over);
        let fetcher = AbortOnDropHandle::new(tokio::spawn(fetcher.run()));
        let keeper = AbortOnDropHandle::new(tokio::spawn(self.keeper(&over).run()));

        let context = WorkerContext::new(&self.worker);
        let worker = WorkerBuilder::new(context.clone())
            .backend(FetchedJobs { jobs, config: self.inbound.keys.config.clone() })
            .concurrency(self.settings.concurrency)
            .build(self.guarded(handle));
        drive(worker.stream(), &context, &over, self.settings.drain).await;
        if !stop.is_cancelled() {
            tracing::warn!(worker.name = %self.worker, "queue.worker.taken_for_dead");
            self.inbound.counters.taken_for_dead.add(1);
        }

        // A fetch may be under way. In Redis it comes before the farewell, which then gives its jobs back, or after,
        // and is refused.
        drop(fetcher);
        self.say_farewell().await;
        drop(keeper);
    }

    fn fetcher(
        &self,
        jobs: mpsc::Sender<Held>,
        wake: &Arc<Notify>,
        pause: &watch::Receiver<bool>,
        over: &CancellationToken,
    ) -> Fetcher {
        Fetcher {
            inbound: self.inbound.clone(),
            settings: self.settings.clone(),
            worker: self.worker.clone(),
            holding: self.holding.clone(),
            jobs,
            pause: pause.clone(),
            wake: wake.clone(),
            over: over.clone(),
        }
    }

    fn keeper(&self, over: &CancellationToken) -> Keeper {
        Keeper {
            inbound: self.inbound.clone(),
            settings: self.settings.clone(),
            worker: self.worker.clone(),
            holding: self.holding.clone(),
            over: over.clone(),
            suspects: HashSet::new(),
        }
    }

    /// The handler, made so that a panic costs its own job a second, and an unclean start, and nobody else anything.
    fn guarded<F, Fut>(
        &self,
        handle: F,
    ) -> impl Fn(Held) -> futures::future::BoxFuture<'static, ()> + Clone + use<F, Fut>
    where
        F: Fn(Held) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (inbound, holding) = (self.inbound.clone(), self.holding.clone());
        move |held| {
            let (inbound, holding, handle) = (inbound.clone(), holding.clone(), handle.clone());
            async move {
                let (id, len) = (held.id.clone(), held.payload.len());
                if AssertUnwindSafe(async { handle(held).await }).catch_unwind().await.is_err() {
                    tracing::error!(job.id = %id, "queue.handler.panicked");
                    inbound.counters.panicked.add(1);
                    defer_panicked(&inbound, id.clone()).await;
                }
                holding.remove(&id.job, len);
            }
            .boxed()
        }
    }

    async fn say_farewell(&self) {
        match leave(&self.inbound, &self.worker).await {
            Ok(()) => tracing::info!(worker.name = %self.worker, "queue.worker.left"),
            // Nobody beats for it from now on, so its jobs are others' when the lease has run out.
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "queue.worker.left_without_farewell")
            }
        }
    }
}

/// Polls the worker until the life is over, then until its handlers have ended, or the time to drain has.
async fn drive(
    events: impl Stream<Item = Result<Event, WorkerError>>,
    context: &WorkerContext,
    over: &CancellationToken,
    drain: Duration,
) {
    let mut events = std::pin::pin!(events);
    over.run_until_cancelled(async { while events.next().await.is_some() {} }).await;
    if context.stop().is_err() {
        // It was over before it had begun: polling it now would begin it.
        return;
    }
    if tokio::time::timeout(drain, async { while events.next().await.is_some() {} }).await.is_err() {
        tracing::warn!(handlers = context.task_count(), "queue.drain.cut: their jobs go back");
    }
}

/// `HOST-PID-RANDOM`.
fn new_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    let host: String =
        host.unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    format!("{host}-{}-{:016x}", std::process::id(), rand::rng().random::<u64>())
}
