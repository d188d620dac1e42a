//! A task without a server: hands in each line of its standard input, however long that takes, and prints their names.
//!
//! ```text
//! REDIS_URL=redis://127.0.0.1 cargo run -p latchhook-producer --example plain_task < orders.ndjson
//! ```

use std::{env, error::Error, time::Duration};

use chrono::Utc;
use producer::{EnqueueError, Producer, ProducerSettings, RawEvent, Redis, SourceId, Stamp};
use tokio::time::sleep;

/// What one call hands in.
const AT_ONCE: usize = 64;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let prefix = env::var("LATCHHOOK_PREFIX").unwrap_or_else(|_| "latchhook".into());
    let redis = Redis::new(&env::var("REDIS_URL")?, &prefix)?;
    let producer = Producer::new(&redis, ProducerSettings::default());
    let orders: SourceId = "orders".parse()?;

    let lines = std::io::read_to_string(std::io::stdin())?;
    let raw_event = |line: &str| RawEvent {
        source_id: orders.clone(),
        received_at: Utc::now(),
        headers: Vec::new(),
        body: line.to_owned().into(),
    };
    let raw_events: Vec<RawEvent> = lines.lines().map(raw_event).collect();
    for batch in raw_events.chunks(AT_ONCE) {
        for stamp in hand_in(&producer, batch).await? {
            println!("{stamp}");
        }
    }

    producer.close().await;
    Ok(())
}

/// Again and again until Redis has them: what was enqueued twice is recorded once. Two errors do not go away by waiting.
async fn hand_in(producer: &Producer, batch: &[RawEvent]) -> Result<Vec<Stamp>, EnqueueError> {
    loop {
        match producer.enqueue_batch(batch).await {
            Ok(stamps) => return Ok(stamps),
            Err(error @ (EnqueueError::TooLarge { .. } | EnqueueError::Closed)) => return Err(error),
            Err(error) => eprintln!("not enqueued yet: {error}"),
        }
        sleep(Duration::from_secs(1)).await;
    }
}
