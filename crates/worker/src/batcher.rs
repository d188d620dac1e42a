//! Makes groups: "take what is there, up to so much", no timer. A group waits for nothing but a free lane, and places for
//! what it owes, so that groups are small while there is little to do, and large when there is much.
//!
//! The batcher outlives its callers: a job whose caller is gone is worked all the same.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use queue::HeldId;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{group::Bench, pieces::Limits, turns::Turn, unpack::Work};

/// Hands jobs to the next group.
#[derive(Clone)]
pub(crate) struct Batcher {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    work: Work,
    /// Kept here, not by the caller, who may be gone before the work is done.
    turn: Turn,
    answer: oneshot::Sender<()>,
}

impl Batcher {
    /// A batcher of so many lanes: transactions at a time.
    pub(crate) fn start(bench: Arc<Bench>, lanes: usize, waiting: usize) -> (Self, tokio::task::JoinHandle<()>) {
        let (jobs, received) = mpsc::channel(waiting);
        (Self { jobs }, tokio::spawn(make_groups(received, bench, lanes)))
    }

    /// Has a job worked; comes back when it is settled or deferred.
    pub(crate) async fn submit(&self, work: Work, turn: Turn) {
        let (answer, answered) = oneshot::channel();
        if self.jobs.send(Job { work, turn, answer }).await.is_ok() {
            let _gone = answered.await;
        }
    }
}

async fn make_groups(mut jobs: mpsc::Receiver<Job>, bench: Arc<Bench>, lanes: usize) {
    // The next lane is to find some as well.
    let most = (jobs.max_capacity() / 2).max(1);
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
        // What comes meanwhile comes along.
        bench.has_places().await;
        let (group, over) = take_what_is_there(first, &mut jobs, most, &bench);
        left_over = over;
        let bench = bench.clone();
        tokio::spawn(async move {
            work(&bench, group).await;
            drop(lane);
        });
    }
    let _all_lanes = free.acquire_many(u32::try_from(lanes).unwrap_or(1)).await;
}

async fn work(bench: &Bench, group: Vec<Job>) {
    let held: Vec<HeldId> = group.iter().map(|job| job.work.held.clone()).collect();
    let (works, callers): (Vec<_>, Vec<_>) = group.into_iter().map(|job| (job.work, (job.turn, job.answer))).unzip();
    if AssertUnwindSafe(bench.work(works)).catch_unwind().await.is_err() {
        tracing::error!(jobs = held.len(), "a group panicked: its jobs have had an unclean start, and come later");
        if let Err(error) = bench.inbound.defer_panicked(&held).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "they are left stranded");
        }
    }
    for (turn, answer) in callers {
        drop(turn);
        let _gone: Result<(), ()> = answer.send(());
    }
}

/// The group that begins with `first`, of so many jobs at most; the one that would have made it too large is left over for the
/// next.
fn take_what_is_there(
    first: Job,
    jobs: &mut mpsc::Receiver<Job>,
    most: usize,
    bench: &Bench,
) -> (Vec<Job>, Option<Job>) {
    let limits = Limits { items: bench.fill.items(), ..bench.limits };
    let (mut items, mut bytes) = (first.work.weight(), first.work.bytes());
    let mut group = vec![first];
    while group.len() < most && items < limits.items && bytes < limits.bytes {
        let Ok(job) = jobs.try_recv() else { break };
        (items, bytes) = (items + job.work.weight(), bytes + job.work.bytes());
        if items > limits.items || bytes > limits.bytes {
            return (group, Some(job));
        }
        group.push(job);
    }
    (group, None)
}
