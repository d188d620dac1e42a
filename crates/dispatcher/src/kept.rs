//! Whether a kept connection has said anything since the request that is on it.
//!
//! Servers close what is idle, some a few milliseconds after an answer, and a request may be on its way just then. hyper
//! tells it by the same error as a server that hangs up on every request, and says neither whether the connection had been
//! used before nor whether a part of an answer came. So the connection keeps count itself.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use http::Extensions;
use hyper_util::client::legacy;

/// What is known of a connection; shared by itself and by whoever sends over it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// An answer was given out, and nothing was written since: what comes next is another request.
    answered: AtomicBool,
    /// A further request is on it, and not a byte came since.
    silent: AtomicBool,
}

impl Kept {
    /// The head of an answer is there. Should this come later than the next request's first byte, then that request is held
    /// to be on a new connection, and not repeated.
    pub(crate) fn answered(&self) {
        self.0.answered.store(true, SeqCst);
    }

    /// Something is written.
    pub(crate) fn writes(&self) {
        if self.0.answered.swap(false, SeqCst) {
            self.0.silent.store(true, SeqCst);
        }
    }

    /// Something came.
    pub(crate) fn hears(&self) {
        self.0.silent.store(false, SeqCst);
    }
}

/// Whether a request went over a connection that had been used before, and not a byte of an answer came.
pub(crate) fn was_silent(error: &legacy::Error) -> bool {
    let mut extras = Extensions::new();
    error.connect_info().inspect(|connected| connected.get_extras(&mut extras));
    extras.get().is_some_and(|kept: &Kept| kept.0.silent.load(SeqCst))
}
