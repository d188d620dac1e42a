//! Servers for tests: a Redis prefix and a Postgres database of its own for each test, on servers that they share.
//!
//! The servers are those of `REDIS_URL` and `DATABASE_URL` (`./justw test` starts one of each for the whole run). Where
//! these are not set, each test process starts private ones when a test first asks, in memory where there is room, so a
//! bare `cargo test` works too. What is started here ends with the process.

mod front;
mod leasing;
mod network;
mod pipeline;
mod postgres;
mod process;
mod redis;
mod waiting;

pub use self::{
    front::Front,
    leasing::leasing,
    network::own_address,
    pipeline::{MessageSeen, Pipeline, a_reaction, a_status, a_text, raw_event, text, whatsapp},
    postgres::{TestDatabase, database, rows_read},
    process::{Process, binary, example},
    redis::{PrivateRedis, TestRedis, private_redis, private_redis_with, redis},
    waiting::until,
};
