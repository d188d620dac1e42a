//! What this life has in memory: fetched, and its handler not ended.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// Jobs in memory, counted: a job that was deferred may be back before the handler that deferred it has ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Holding(Arc<Mutex<HashMap<Bytes, u32>>>);

impl Holding {
    pub(super) fn add(&self, job: &Bytes) {
        *self.lock().entry(job.clone()).or_default() += 1;
    }

    pub(super) fn remove(&self, job: &Bytes) {
        let mut jobs = self.lock();
        if let Some(count) = jobs.get_mut(job) {
            *count -= 1;
            if *count == 0 {
                jobs.remove(job);
            }
        }
    }

    /// Which of these are not in memory.
    pub(super) fn missing(&self, jobs: impl IntoIterator<Item = Bytes>) -> HashSet<Bytes> {
        let held = self.lock();
        jobs.into_iter().filter(|job| !held.contains_key(job)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bytes, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
