//! The protocol as a model, checked over all interleavings: latchhook's own, which holds, and those that came before it,
//! which do not.
//!
//! ```text
//! inbound, outbound   latchhook's protocol, in two halves   latchhook   holds; every mistake in it is found
//! seed                the algorithms before it              before      the shortest way to break each
//! checker             goes through all states               why         docs/why.md says what was found
//! ```
//! `cargo test -p model -- --nocapture` prints how many states there are. What the models leave out is tested for real, by
//! `./justw chaos` and by the crash tests.

mod before;
mod checker;
mod inbound;
mod latchhook;
mod outbound;
mod seed;
mod why;
