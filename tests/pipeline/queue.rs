//! What the inbound queue promises, on a real Redis. Each of these fails on plain apalis-redis 1.0.0, or would
//! without the line of `queue` that it is about; `upstream` shows which bugs are still there.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic, its helpers too")]

#[path = "queue/delivery.rs"]
mod delivery;
#[path = "queue/direct.rs"]
mod direct;
#[path = "queue/dying.rs"]
mod dying;
#[path = "queue/latency.rs"]
mod latency;
#[path = "queue/numbers.rs"]
mod numbers;
#[path = "queue/once.rs"]
mod once;
#[path = "queue/room.rs"]
mod room;
#[path = "queue/snapshot.rs"]
mod snapshot;
#[path = "queue/stopping.rs"]
mod stopping;
#[path = "queue/support.rs"]
mod support;
#[path = "queue/upstream.rs"]
mod upstream;
