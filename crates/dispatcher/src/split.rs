//! Where the time of an attempt goes: a [`Split`](database::attempts::Split).
//!
//! What was cut off in the middle took its time too, so a part is written down when it is dropped. On a kept connection there is
//! nothing to write down.

use std::time::Duration;

use tokio::time::Instant;

/// A part of an attempt, from now until this is dropped. A request that met a connection just being closed makes another: what
/// that takes comes on top.
pub(crate) struct Part<'s> {
    took: &'s mut Option<Duration>,
    began: Instant,
}

impl<'s> Part<'s> {
    /// It is written down there.
    pub(crate) fn of(took: &'s mut Option<Duration>) -> Self {
        Self { took, began: Instant::now() }
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        *self.took = Some(self.took.unwrap_or_default() + self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use database::attempts::Split;

    use super::*;

    #[tokio::test]
    async fn a_part_that_is_cut_off_is_written_down_and_what_it_did_not_come_to_is_not() {
        let mut split = Split::default();
        let connecting = async {
            drop(Part::of(&mut split.dns));
            let _part = Part::of(&mut split.connect);
            std::future::pending::<()>().await;
        };

        let cut_off = tokio::time::timeout(Duration::from_millis(5), connecting).await;

        assert!(cut_off.is_err());
        assert!(split.dns.is_some_and(|took| took < Duration::from_millis(5)), "{split:?}");
        assert!(split.connect.is_some_and(|took| took >= Duration::from_millis(5)), "{split:?}");
        assert_eq!((split.tls, split.first_byte), (None, None));
    }
}
