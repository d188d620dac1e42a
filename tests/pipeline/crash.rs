//! Promises 1 to 4 under `kill -9`: real processes die at every point where something could be lost or doubled.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic, its helpers too")]

#[path = "dispatcher/customer.rs"]
#[expect(dead_code, reason = "the dispatcher's tests need worse customers")]
mod customer;
#[path = "crash/frozen.rs"]
mod frozen;
#[path = "producer/http.rs"]
#[expect(dead_code, reason = "the producer's tests need worse clients")]
mod http;
#[path = "crash/kill_points.rs"]
mod kill_points;
#[path = "crash/loops.rs"]
mod loops;
#[path = "crash/rolling.rs"]
mod rolling;
#[path = "crash/scene.rs"]
mod scene;
#[path = "crash/turns.rs"]
mod turns;
