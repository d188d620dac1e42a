//! Stage 3: sends what is owed, until it is delivered or visibly given up.
//!
//! * A **delivery** is an event owed to an endpoint. Its row was committed with the event's, so there is nothing here that
//!   could be told too early, and nothing between commit and sending for a crash to fall into.
//! * A **lease** is this dispatcher's hold on a delivery while it sends: an economy that keeps two of them apart. When a
//!   dispatcher dies its leases end, and others send: at least once, under the same id.
//! * An **attempt** is one HTTP request, and what came of it. Every attempt of a delivery carries the same `webhook-id` and
//!   the same bytes, with a timestamp and a signature of its own.
//! * The **desk** takes what a worker of the same process has just committed, leased from the start.
//! * The **dispatcher** leases what is due and can be started now, and sends it concurrently with no transaction open; its
//!   **recorder** writes the results, many in one statement. Neither knows Redis.
//! * The **guard** stands before every connection.

mod access;
mod address;
mod asker;
mod attempt;
mod back_off;
mod bounded;
mod client;
mod connector;
mod counters;
mod desk;
mod dispatcher;
mod error;
mod failure;
mod fairness;
mod fetch;
mod fetcher;
mod foreign;
mod granted;
mod guard;
mod in_flight;
mod kept;
mod large_bodies;
mod left_alone;
pub mod notice;
mod outcome;
mod pauses;
mod ping;
mod pool;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod put_off;
mod recorder;
mod resolver;
mod retry_after;
mod schedule;
mod send;
mod settings;
pub mod signing;
mod split;
mod standing;
mod targets;
mod unsent;

pub use access::{Access, AccessError, AccessShown, ClientCertificate};
pub use address::{AllowedPrivate, Cidr, CidrError};
pub use client::Client;
pub use counters::{Counters, CountersSnapshot};
pub use desk::Desk;
pub use dispatcher::{Dispatched, Dispatcher};
pub use error::DispatchError;
pub use fetch::FetchError;
pub use granted::{GrantError, Granted};
pub use guard::{Guard, Refusal, UrlRefused};
pub use outcome::{Cause, Next, Outcome, Schedule, judge};
pub use ping::Ping;
pub use resolver::{Addresses, NoPlace};
pub use schedule::Span;
pub use settings::Settings;
