//! Makes groups: "take what is there, up to so much", no timer. A group waits for nothing but a free lane, so that groups
//! are small while there is little to do, and large when there is much.
//!
//! The batcher outlives its callers: a job whose caller is gone is worked all the same.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{group::Bench, unpack::Work};

/// Hands jobs to the next group.
#[derive(Clone)]
pub(crate) struct Batcher {
    jobs: mpsc::Sender<(Work, oneshot::Sender<()>)>,
}

impl Batcher {
    /// A batcher of so many lanes: transactions at a time.
    pub(crate) fn start(bench: Arc<Bench>, lanes: usize, waiting: usize) -> (Self, tokio::task::JoinHandle<()>) {
        let (jobs, received) = mpsc::channel(waiting);
        (Self { jobs }, tokio::spawn(make_groups(received, bench, lanes)))
    }

    /// Has a job worked; comes back when it is settled or deferred.
    pub(crate) async fn submit(&self, work: Work) {
        let (answer, answered) = oneshot::channel();
        if self.jobs.send((work, answer)).await.is_ok() {
            let _gone = answered.await;
        }
    }
}

async fn make_groups(mut jobs: mpsc::Receiver<(Work, oneshot::Sender<()>)>, bench: Arc<Bench>, lanes: usize) {
    let free = Arc::new(Semaphore::new(lanes));
    let mut left_over = None;
    loop {
        let Ok(lane) = free.clone().acquire_owned().await else { return };
        let first = match left_over.take() {
            Some(job) => job,
            None => match jobs.recv().await {
                Some(job) => job,
                None => break,
            },
        };
        let (group, over) = take_what_is_there(first, &mut jobs, &bench);
        left_over = over;
        let bench = bench.clone();
        tokio::spawn(async move {
            let (works, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            if AssertUnwindSafe(bench.work(works)).catch_unwind().await.is_err() {
                // What it held is in nobody's hands now; the queue notices, and hands it out again.
                tracing::error!(jobs = answers.len(), "a group panicked; its jobs come back by themselves");
            }
            drop(lane);
            for answer in answers {
                let _gone: Result<(), ()> = answer.send(());
            }
        });
    }
    let _all_lanes = free.acquire_many(u32::try_from(lanes).unwrap_or(1)).await;
}

type Job = (Work, oneshot::Sender<()>);

/// The group that begins with `first`; the job that would have made it too large, or must be alone, is left over for the
/// next.
fn take_what_is_there(first: Job, jobs: &mut mpsc::Receiver<Job>, bench: &Bench) -> (Vec<Job>, Option<Job>) {
    let (mut items, mut bytes) = (first.0.weight(), first.0.bytes());
    let mut group = vec![first];
    while items < bench.limits.items && bytes < bench.limits.bytes && !group[0].0.alone {
        let Ok(job) = jobs.try_recv() else { break };
        (items, bytes) = (items + job.0.weight(), bytes + job.0.bytes());
        if items > bench.limits.items || bytes > bench.limits.bytes || job.0.alone {
            return (group, Some(job));
        }
        group.push(job);
    }
    (group, None)
}
