//! What the worker promises: recorded once, never lost, told once it is true; whatever arrives, in whatever order.
//!
//! Numbers in comments are the behaviours of the seed that a promise holds, or deliberately differs from.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

#[path = "worker/book.rs"]
mod book;
#[path = "worker/book_races.rs"]
mod book_races;
#[path = "worker/claims.rs"]
mod claims;
#[path = "../../crates/worker/examples/conversations.rs"]
#[expect(dead_code, reason = "it is a program as well")]
mod conversations;
#[path = "worker/duplicates.rs"]
mod duplicates;
#[path = "worker/groups.rs"]
mod groups;
#[path = "worker/handed.rs"]
mod handed;
#[path = "worker/handler.rs"]
mod handler;
#[path = "worker/handler_limits.rs"]
mod handler_limits;
#[path = "worker/handler_neighbours.rs"]
mod handler_neighbours;
#[path = "worker/handler_says.rs"]
mod handler_says;
#[path = "worker/kept_whole.rs"]
mod kept_whole;
#[path = "worker/kinds.rs"]
mod kinds;
#[path = "worker/limits.rs"]
mod limits;
#[path = "worker/ordered.rs"]
mod ordered;
#[path = "worker/owed.rs"]
mod owed;
#[path = "worker/revisions.rs"]
mod revisions;
#[path = "worker/selecting.rs"]
mod selecting;
#[path = "worker/trouble.rs"]
mod trouble;
