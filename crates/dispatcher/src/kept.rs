//! Whether a kept connection has said anything since the request that is on it.
//!
//! Servers close what is idle, some a few milliseconds after an answer, and a request may be on its way just then. hyper
//! tells it by the same error as a server that hangs up on every request, and does not say whether a part of an answer came.
//! So the connection keeps count itself.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

/// Whether it is silent; shared by the connection and by whoever sends over it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(Arc<AtomicBool>);

impl Kept {
    /// A further request is to be sent over it.
    pub(crate) fn used_again(&self) {
        self.0.store(true, SeqCst);
    }

    /// Something came.
    pub(crate) fn hears(&self) {
        self.0.store(false, SeqCst);
    }

    /// Whether the request on it is a further one, and not a byte came since.
    pub(crate) fn is_silent(&self) -> bool {
        self.0.load(SeqCst)
    }
}
