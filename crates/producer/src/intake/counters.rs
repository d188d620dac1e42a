//! What came in at the door, for metrics.

use vocabulary::Counter;

use super::Refusal;

/// What came in since the start. A handshake counts as neither received nor accepted, a refused one as refused.
#[derive(Debug, Default)]
pub struct IntakeCounters {
    /// POST requests for a source, whatever came of them.
    pub received: Counter,
    /// Raw events that Redis has.
    pub accepted: Counter,
    /// Bytes of the bodies accepted.
    pub bytes: Counter,
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

    pub(super) fn accept(&self, bytes: usize) {
        self.accepted.add(1);
        self.bytes.add(bytes);
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.refused[refusal as usize].add(1);
    }
}
