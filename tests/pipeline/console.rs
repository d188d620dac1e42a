//! What the console promises of its streams: everything that is committed, to everybody who may read it, and nothing of it
//! taken from the endpoint.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

#[path = "console/door.rs"]
mod door;
#[path = "console/listen.rs"]
mod listen;
#[path = "console/order.rs"]
mod order;
#[path = "console/setting.rs"]
mod setting;
#[path = "console/streams.rs"]
mod streams;
