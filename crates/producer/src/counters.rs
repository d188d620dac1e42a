//! What a producer has done since it started, for metrics.

use vocabulary::Counter;

/// What was pushed. `raw_events` by `pushes` is how well requests in flight share a push.
#[derive(Debug, Default)]
pub struct PushCounters {
    /// Pushes that Redis accepted.
    pub pushes: Counter,
    /// Pushes that failed, or whose outcome is unknown.
    pub pushes_failed: Counter,
    /// Raw events in the accepted pushes.
    pub raw_events: Counter,
    /// Bytes of their bodies and headers.
    pub bytes: Counter,
}

impl PushCounters {
    pub(crate) fn accepted(&self, raw_events: usize, bytes: usize) {
        self.pushes.add(1);
        self.raw_events.add(raw_events);
        self.bytes.add(bytes);
    }
}
