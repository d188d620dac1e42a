//! What came in at the door, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Refusal;
use crate::counters::count;

/// What came in since the start. A handshake counts as neither received nor accepted, a refused one as refused.
#[derive(Debug, Default)]
pub struct IntakeCounters {
    /// POST requests for a source, whatever came of them.
    pub received: AtomicU64,
    /// Raw events that Redis has.
    pub accepted: AtomicU64,
    /// Bytes of the bodies accepted.
    pub bytes: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl IntakeCounters {
    /// How many requests were refused for one cause.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize].load(Relaxed)
    }

    pub(super) fn receive(&self) {
        count(&self.received, 1);
    }

    pub(super) fn accept(&self, bytes: usize) {
        count(&self.accepted, 1);
        count(&self.bytes, bytes);
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        count(&self.refused[refusal as usize], 1);
    }
}
