//! Locks that outlive a panic: what broke is told by the panic itself, and the rest of a run may still be judged.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for its turn.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
