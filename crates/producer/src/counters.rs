//! What a producer has done since it started, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What was pushed. `raw_events` by `pushes` is how well requests in flight share a push.
#[derive(Debug, Default)]
pub struct PushCounters {
    /// Pushes that Redis accepted.
    pub pushes: AtomicU64,
    /// Pushes that failed, or whose outcome is unknown.
    pub pushes_failed: AtomicU64,
    /// Raw events in the accepted pushes.
    pub raw_events: AtomicU64,
    /// Bytes of their bodies and headers.
    pub bytes: AtomicU64,
}

impl PushCounters {
    pub(crate) fn accepted(&self, raw_events: usize, bytes: usize) {
        count(&self.pushes, 1);
        count(&self.raw_events, raw_events);
        count(&self.bytes, bytes);
    }
}

pub(crate) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Relaxed);
}
