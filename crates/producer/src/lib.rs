//! Stage 1: takes raw events in, and says yes only once Redis has them.
//!
//! The cast:
//!
//! * [`Producer`]: what an existing app embeds. Raw events that arrive together share one push.
//! * [`Intake`] (feature `intake`, on by default): the HTTP door of `latchhook`. It checks each signature over the exact
//!   bytes, and hands those bytes to a [`Producer`] verbatim. No payload is parsed in this crate, so no shape of a
//!   correctly signed body is ever refused.
//! * [`SourceBook`]: what the door knows of the sources, from a snapshot in Redis. This crate knows no Postgres.
//! * [`Certificates`]: what some providers sign with, fetched by whoever embeds this crate. It asks no server itself.
//! * [`serve`]: the server below the door, with the deadlines that `axum::serve` does not have.
//!
//! One thing to know: every doubt is answered with an error. The sender then repeats, and a duplicate is harmless further
//! down, where a raw event that was acknowledged and lost is not.
//!
//! Another: an app's own transaction and the queue are not one. What is enqueued before COMMIT is there after a rollback;
//! what is enqueued after it is missing if the process dies in between. `docs/embedding.md` says what to do about it, what
//! each error asks for, and how to shut down.

mod counters;
#[cfg(feature = "intake")]
mod intake;
mod producer;
mod push;

pub use counters::PushCounters;
#[cfg(feature = "intake")]
pub use intake::{
    Certificates, ConnectionLimits, Fetched, Intake, IntakeCounters, IntakeSettings, Lookup, Refusal, Routes,
    SourceBook, Stopped, routes, serve,
};
pub use producer::{BODY_LIMITS, EnqueueError, Producer, ProducerSettings};
// What an app needs beside it, so that it depends on no other crate of latchhook's.
pub use queue::{Redis, RedisError};
pub use vocabulary::{IdError, Once, RawEvent, SourceId, Stamp};
