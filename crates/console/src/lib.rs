//! The operator's API, under `/v1/`.
//!
//! * [`Console`]: what the routes share; [`router`]: the routes. Whoever runs them brings the server below them.
//! * [`Token`]: what a request must show.
//! * A **stream** is a copy of what is owed to an endpoint from now on, for a developer's machine; a [`Line`] of it is one
//!   delivery. Its **follower** finds what was committed, by the numbers that events have in their source.
//!
//! One thing to know: a stream is not a delivery. What the endpoint itself is sent is not touched by it, nothing is recorded
//! of it, and what is committed while nobody listens is in no stream.
//!
//! Of the dispatcher it has the signing, and nothing else.

mod console;
mod follower;
mod line;
mod refusal;
mod stream;
mod token;

pub use console::{Console, Settings, router};
pub use line::{Headers, Line};
pub use token::{Token, TokenError};
