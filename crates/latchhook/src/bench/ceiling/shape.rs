//! How much each stage takes at once, and how many of it there are.

use std::time::Duration;

/// The numbers that make it fast, or show what it would be without them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Whether each raw event is pushed by a command of its own.
    pub push_alone: bool,
    /// Raw events that a worker takes.
    pub take: usize,
    /// Workers, each with a connection to both servers.
    pub workers: usize,
    /// Deliveries on their way.
    pub in_flight: usize,
    /// Results in one statement.
    pub record: usize,
    /// Recorders, each with a connection.
    pub recorders: usize,
    /// How long results gather before the next statement: nobody waits for them, and each statement has its price.
    pub record_pause: Duration,
    /// Deliveries that may wait for a courier, before the workers wait.
    pub waiting: usize,
}

impl Shape {
    /// The best that was found for two cores, within what latchhook allows itself: a transaction has 500 new events at most.
    /// Twice as many would take 2 % less CPU time. But for results, only what is there at the same moment is taken together.
    pub(super) const BATCHED: Self = Self {
        push_alone: false,
        take: 500,
        workers: 2,
        in_flight: 64,
        record: 500,
        recorders: 1,
        record_pause: Duration::from_millis(10),
        waiting: 2_000,
    };

    /// Everything by itself, and as many side by side as is best: with 32 workers, which wait in one line for the counter of
    /// their source, it is a quarter slower than with 8.
    pub(super) const ONE_BY_ONE: Self = Self {
        push_alone: true,
        take: 1,
        workers: 8,
        record: 1,
        recorders: 8,
        record_pause: Duration::ZERO,
        ..Self::BATCHED
    };
}
