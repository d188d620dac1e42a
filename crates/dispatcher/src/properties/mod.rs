//! What is true of every URL and every delivery, whoever made it up: asked of random ones by the tests of this crate, and of
//! those that libFuzzer breeds by `tests/fuzz`. Each function panics where its promise does not hold.

mod guard;
mod internet;
mod webhook;

pub use guard::guard;
pub use webhook::webhook;
