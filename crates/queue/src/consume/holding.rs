//! What this life has in memory: fetched, and its handler not ended.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::Held;

/// Jobs in memory, counted: a job that was deferred may be back before the handler that deferred it has ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Holding {
    jobs: Arc<Mutex<HashMap<Bytes, u32>>>,
    bytes: Arc<watch::Sender<usize>>,
}

impl Holding {
    pub(super) fn add(&self, held: &Held) {
        *self.lock().entry(held.id.job.clone()).or_default() += 1;
        self.bytes.send_modify(|bytes| *bytes += held.payload.len());
    }

    /// The handler of a job of so many bytes has ended.
    pub(super) fn remove(&self, job: &Bytes, len: usize) {
        let mut jobs = self.lock();
        if let Some(count) = jobs.get_mut(job) {
            *count -= 1;
            if *count == 0 {
                jobs.remove(job);
            }
        }
        drop(jobs);
        self.bytes.send_modify(|bytes| *bytes -= len);
    }

    /// Comes back when fewer than so many bytes are in memory.
    pub(super) async fn is_below(&self, limit: usize) {
        let mut bytes = self.bytes.subscribe();
        // The sender is ours, so it is never gone.
        let _below = bytes.wait_for(|bytes| *bytes < limit).await;
    }

    /// Which of these are not in memory.
    pub(super) fn missing(&self, jobs: impl IntoIterator<Item = Bytes>) -> HashSet<Bytes> {
        let held = self.lock();
        jobs.into_iter().filter(|job| !held.contains_key(job)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bytes, u32>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
