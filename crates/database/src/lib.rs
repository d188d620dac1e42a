//! Everything that is said to Postgres: the pool, the migrations, and one file a table with all its queries.
//!
//! Queries take `&AsyncPgConnection`, which cannot open a transaction: a transaction belongs to the stage that opens it.
//! Statements that run for every event are typed nodes (see the `statement` macro), because diesel prepares anything else
//! anew at each call; what an operator asks for now and then is written in diesel's own language.

#[macro_use]
mod statement;

pub mod accounts;
pub mod attempts;
pub mod audit;
pub mod audit_log;
pub mod bodies;
pub mod changes_awaiting;
mod connect;
pub mod deliveries;
pub mod due;
pub mod endpoints;
mod error;
pub mod events;
pub mod facts;
pub mod gates;
pub mod handling;
pub mod lanes;
pub mod listing;
pub mod losses;
pub mod messages;
mod migrate;
pub mod outbox;
pub mod quarantine;
pub mod receipts;
pub mod retries;
mod schema;
pub mod sealed;
pub mod sequences;
pub mod sources;

pub use connect::{Connection, Database, DatabaseError};
pub use error::{OpenError, Trouble, held_up_by, is_echo, trouble};
pub use migrate::{MigrateError, migrate};

pub use diesel::result::Error as QueryError;
pub use diesel_async::AsyncPgConnection;

/// What a query gives, or diesel's error.
pub type QueryResult<T> = Result<T, QueryError>;
