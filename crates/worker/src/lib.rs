//! Stage 2: takes jobs from the inbound queue and commits their events in Postgres, each exactly once, together with the
//! webhooks that it owes.
//!
//! ```text
//!  queue ──▶ turn ──▶ unpack ──▶ batcher ──▶ claim ──▶ the one transaction ──▶ done ──▶ settle / defer ──▶ queue
//!            alone?   split,     what is     Redis     Postgres                Redis    acknowledged only now
//!                     reject     there
//! ```
//!
//! **A duplicate is stopped in two places.** `group` asks for the claim: an economy, which saves the work when two
//! workers hold the same item in the same moment. `transaction` inserts into the ledger: the proof, which holds with
//! Redis empty, stale, flushed or down.
//!
//! Nothing is acknowledged before the server has answered COMMIT, and an item that another worker holds is never
//! acknowledged and dropped: its job is deferred, because the holder may die.

mod batcher;
mod book;
mod counters;
mod desk;
mod fill;
mod fold;
mod group;
mod handler;
mod handling;
mod kept_whole;
mod news;
mod pause;
mod payload;
mod pieces;
mod receipt;
mod selecting;
mod slow;
mod sources;
mod todo;
mod transaction;
mod trust;
mod turns;
mod unpack;
mod worker;

pub use counters::Counters;
pub use desk::Desk;
pub use handler::{HandledEvent, Handler, HandlerError};
pub use sources::{Sources, SourcesError};
pub use worker::{Builder, Settings, Worker};
