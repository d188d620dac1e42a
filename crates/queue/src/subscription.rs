//! A channel that wakes somebody. Lossy, so it only ever shortens a wait that ends by itself.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::sync::Notify;

use crate::{Redis, RedisError};

const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// Notifies whenever something is published, for ever; connects again when it must.
pub(crate) async fn listen(redis: Redis, channel: String, notify: Arc<Notify>) {
    loop {
        if let Err(error) = listen_once(&redis, &channel, &notify).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "redis.subscription.lost");
        }
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

async fn listen_once(redis: &Redis, channel: &str, notify: &Notify) -> Result<(), RedisError> {
    let mut subscriber = redis.subscriber().await?;
    subscriber.subscribe(channel).await?;
    // What was published while nobody listened is not repeated.
    notify.notify_one();
    let mut messages = subscriber.on_message();
    while messages.next().await.is_some() {
        notify.notify_one();
    }
    Ok(())
}
