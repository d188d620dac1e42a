//! A delivery that was leased, and its body.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;
use vocabulary::EndpointId;

use crate::endpoints::Target;

/// The bytes of a body that comes with its lease, at most. What is larger is read by itself ([`crate::bodies::find`]), by who
/// has the memory for it: a lease brings hundreds of bodies, each of its own, though many may be the same.
pub const LARGEST_BROUGHT: i32 = 64 << 10;

/// A delivery that the caller alone may send until the lease ends, with its body, or with what became of that.
#[derive(Debug, Clone)]
pub struct Leased<B = Bytes> {
    /// What is owed.
    pub event_id: Uuid,
    /// To whom.
    pub endpoint_id: EndpointId,
    /// The number of the lease.
    pub lease: i64,
    /// Requests recorded since it was last made due; the place in the retry schedule.
    pub attempts: u32,
    /// Whether a person had it tried again, or it was held until its endpoint was enabled.
    pub again: bool,
    /// Under which id, on every attempt.
    pub webhook_id: String,
    /// What the customer is told, the same on every attempt.
    pub body: B,
    /// Where to, and what signs it.
    pub target: Arc<Target>,
    /// The gate of its endpoint, if that has one.
    pub gate: Option<Gate>,
    /// Of an endpoint that asked for order: the lane whose next delivery waits for this one to end.
    pub lane: Option<String>,
    /// How many its lease could have brought of its endpoint: with fewer it has left none.
    pub part: usize,
}

/// The body of a delivery that was leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// It came with the lease.
    Brought(Bytes),
    /// It is larger than [`LARGEST_BROUGHT`].
    Left {
        /// What to read it by, beside the event.
        format: String,
        /// How many bytes it has.
        bytes: u32,
    },
}

impl<B> Leased<B> {
    /// Whether it gives way to first attempts.
    pub fn is_retry(&self) -> bool {
        self.attempts > 0 || self.again
    }

    /// The same delivery, and what it says apart.
    pub fn split(self) -> (Leased<()>, B) {
        let Self { event_id, endpoint_id, lease, attempts, again, webhook_id, body, target, gate, lane, part } = self;
        (Leased { event_id, endpoint_id, lease, attempts, again, webhook_id, body: (), target, gate, lane, part }, body)
    }
}

impl Leased<()> {
    /// The same delivery, with what it says.
    pub fn with<B>(self, body: B) -> Leased<B> {
        let Self { event_id, endpoint_id, lease, attempts, again, webhook_id, body: (), target, gate, lane, part } =
            self;
        Leased { event_id, endpoint_id, lease, attempts, again, webhook_id, body, target, gate, lane, part }
    }
}

/// What a gate was like when it let a delivery pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// Whether its endpoint had failed: a success is then to be noted there.
    pub has_failed: bool,
    /// Whether the delivery is the probe of an open circuit.
    pub is_probe: bool,
}
