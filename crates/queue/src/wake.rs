//! "Something is due", said to the dispatcher by whoever has just committed a delivery.
//!
//! Lossy on purpose: the dispatcher polls Postgres anyway, and a wake-up only makes an idle one prompt.

use std::sync::Arc;

use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{Redis, subscription};

/// The dispatcher's doorbell. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Wake {
    redis: Redis,
    channel: String,
}

impl Wake {
    /// The doorbell of one installation.
    pub fn new(redis: &Redis) -> Self {
        Self { redis: redis.clone(), channel: format!("{}:wake:due", redis.prefix()) }
    }

    /// Rings. Whether anybody hears it, nobody knows.
    pub async fn announce(&self) {
        if let Ok(mut connection) = self.redis.connection().await {
            let _: Result<(), _> = redis::cmd("PUBLISH").arg(&self.channel).arg("").exec_async(&mut connection).await;
        }
    }

    /// Notifies at every ring until stopped, and once after every (re)connection: a ring may have been missed.
    pub fn listen(&self, notify: Arc<Notify>, stop: CancellationToken) -> JoinHandle<()> {
        let listening = subscription::listen(self.redis.clone(), self.channel.clone(), notify);
        tokio::spawn(async move {
            let _ = stop.run_until_cancelled(listening).await;
        })
    }
}
