//! What came in at the door, for metrics.

use vocabulary::Counter;

use super::Refusal;

/// What came in since the start. A handshake counts as neither received nor accepted, a refused one as refused.
#[derive(Debug, Default)]
pub struct IntakeCounters {
    /// POST requests for a source, whatever came of them, of providers and of apps.
    pub received: Counter,
    /// Raw events that Redis has; one that an app sent again under the same key, again.
    pub accepted: Counter,
    /// Bytes of the bodies accepted.
    pub bytes: Counter,
    /// Lines that were not acceptable, of requests of which something was, or all.
    pub lines_refused: Counter,
    refused: [Counter; Refusal::ALL.len()],
}

impl IntakeCounters {
    /// How many requests were refused for one cause.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize].get()
    }

    pub(super) fn receive(&self) {
        self.received.add(1);
    }

    pub(super) fn accept(&self, raw_events: usize, bytes: usize) {
        self.accepted.add(raw_events);
        self.bytes.add(bytes);
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.refused[refusal as usize].add(1);
    }
}
