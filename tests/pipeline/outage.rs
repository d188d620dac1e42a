//! What becomes of the work while a store is away, full, locked or in a bad mood: nothing fails, nothing is quarantined,
//! nothing is tried in a hot loop, and afterwards everything is recorded once.
//!
//! A worker runs over a Postgres and a Redis of the test's own, and somebody goes on enqueuing throughout. An outage is a
//! duration: [`weather`] is the one place where a test lets time pass.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

#[path = "outage/crowd.rs"]
mod crowd;
#[path = "outage/enqueuing.rs"]
mod enqueuing;
#[path = "outage/installation.rs"]
mod installation;
#[path = "outage/logs.rs"]
mod logs;
#[path = "outage/postgres.rs"]
mod postgres;
#[path = "outage/redis.rs"]
mod redis;
#[path = "outage/sqlstates.rs"]
mod sqlstates;
#[path = "outage/weather.rs"]
mod weather;
