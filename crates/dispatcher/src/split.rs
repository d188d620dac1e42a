//! Where the time of an attempt goes: [`Split`].
//!
//! A connection is made by the task of the request that asked for it, inside of the request. So whoever makes it writes
//! down how long that took in a place of the task, and the attempt finds it there, also when it was cut off in the middle.
//! On a kept connection there is nothing to write down. Where another request has given a connection back before the own
//! one was made, the own one is finished by a task of its own, for whoever comes next, and nobody's time goes into that.

use std::{cell::Cell, future::Future, time::Duration};

use database::attempts::Split;
use tokio::time::Instant;

tokio::task_local! {
    static SPLIT: Cell<Split>;
}

/// Does the work of an attempt, and says where its time went.
pub(crate) async fn measured<T>(work: impl Future<Output = T>) -> (T, Split) {
    let both = async {
        let done = work.await;
        (done, SPLIT.with(Cell::get))
    };
    SPLIT.scope(Cell::default(), both).await
}

/// A part of the attempt that this task works at, from now until it is dropped.
pub(crate) struct Part {
    of: fn(&mut Split) -> &mut Option<Duration>,
    began: Instant,
}

impl Part {
    /// The name is asked for.
    pub(crate) fn dns() -> Self {
        Self { of: |split| &mut split.dns, began: Instant::now() }
    }

    /// A connection is made.
    pub(crate) fn connect() -> Self {
        Self { of: |split| &mut split.connect, began: Instant::now() }
    }

    /// TLS is agreed on.
    pub(crate) fn tls() -> Self {
        Self { of: |split| &mut split.tls, began: Instant::now() }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        add(self.of, self.began.elapsed());
    }
}

/// The head of the answer is there, so long after the attempt began.
pub(crate) fn head_came(after: Duration) {
    let Ok(Split { dns, connect, tls, .. }) = SPLIT.try_with(Cell::get) else { return };
    let before = [dns, connect, tls].into_iter().flatten().sum();
    add(|split| &mut split.first_byte, after.saturating_sub(before));
}

/// A request that met a connection just being closed makes another: what that took comes on top. Nobody minds who asks
/// outside of an attempt.
fn add(part: fn(&mut Split) -> &mut Option<Duration>, took: Duration) {
    let _nobody_asks = SPLIT.try_with(|cell| {
        let mut split = cell.get();
        let so_far = part(&mut split);
        *so_far = Some(so_far.unwrap_or_default() + took);
        cell.set(split);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_is_cut_off_is_written_down_and_what_it_did_not_come_to_is_not() {
        let connecting = async {
            let _part = Part::connect();
            std::future::pending::<()>().await;
        };
        let attempt = async {
            drop(Part::dns());
            tokio::time::timeout(Duration::from_millis(5), connecting).await
        };

        let (cut_off, split) = measured(attempt).await;

        assert!(cut_off.is_err());
        assert!(split.dns.is_some_and(|took| took < Duration::from_millis(5)), "{split:?}");
        assert!(split.connect.is_some_and(|took| took >= Duration::from_millis(5)), "{split:?}");
        assert_eq!((split.tls, split.first_byte), (None, None));
    }

    #[tokio::test]
    async fn the_head_is_waited_for_from_where_the_connection_stands() {
        let attempt = async {
            add(|split| &mut split.connect, Duration::from_millis(10));
            add(|split| &mut split.tls, Duration::from_millis(20));
            head_came(Duration::from_millis(100));
        };

        let ((), split) = measured(attempt).await;

        assert_eq!(split.first_byte, Some(Duration::from_millis(70)));
    }
}
