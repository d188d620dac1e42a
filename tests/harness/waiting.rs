//! To wait for what nobody tells of.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Longer than anything here takes, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Who looks over and over keeps others from their work.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks again and again until something is so.
///
/// # Panics
/// After a minute.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            sleep(PAUSE).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}
