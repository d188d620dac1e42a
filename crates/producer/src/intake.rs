//! The HTTP door: `GET|POST /hooks/{source_id}`, `POST /v1/sources/{source_id}/raw-events`, `/healthz`, `/readyz`.
//!
//! * [`Intake`]: what the routes share. Once a second it looks at Redis and at the snapshot of the sources.
//! * [`Routes`]: which way a request goes. `hooks`: one from a provider, step by step. `raw_events`: one from an app.
//! * [`Refusal`]: every way to say no, and what the sender is told.
//! * [`serve`]: the server, which a slow client cannot hold.

mod bearer;
mod body;
mod book;
mod certificates;
mod counters;
mod entrance;
mod files;
mod hooks;
mod key;
mod line_headers;
mod lines;
mod memory;
mod patience;
mod pressure;
mod raw_events;
mod refusal;
mod routes;
mod server;
mod under_way;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use queue::{Inbound, Redis};
use tokio::{join, time::sleep};
use tokio_util::sync::CancellationToken;

pub use book::{Lookup, SourceBook};
pub use certificates::{Certificates, Fetched};
pub use counters::IntakeCounters;
pub use refusal::Refusal;
pub use routes::{Routes, routes};
pub use server::{ConnectionLimits, Stopped, serve};

use crate::Producer;
use memory::Memory;
use pressure::Pressure;
use under_way::UnderWay;

/// How often the door looks at Redis and at the snapshot.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the routes share. Cheap to clone.
#[derive(Clone)]
pub struct Intake(Arc<Shared>);

struct Shared {
    producer: Producer,
    book: SourceBook,
    certificates: Certificates,
    inbound: Inbound,
    pressure: Pressure,
    memory: Memory,
    under_way: UnderWay,
    settings: IntakeSettings,
    counters: IntakeCounters,
}

/// What the door allows a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntakeSettings {
    /// How long a whole body may take, however steadily it drips.
    pub body_deadline: Duration,
    /// The most bytes of bodies in memory at one time, over all requests, from their first byte until Redis has them. Above
    /// it requests get 503. Apps take half of it at most, and the provider of one source a quarter: signatures can only be
    /// checked on whole bodies, so strangers may fill that.
    pub reading_bytes: usize,
    /// The most bytes that the apps of one source may have on their way at one time, from their first byte until Redis has
    /// them, beside a request that is alone. Above it they get 429: a part of
    /// [`ProducerSettings::backlog_bytes`](crate::ProducerSettings), so that one app leaves room for all others and for the
    /// providers.
    pub source_bytes: usize,
}

impl Default for IntakeSettings {
    fn default() -> Self {
        Self { body_deadline: Duration::from_secs(30), reading_bytes: 256 << 20, source_bytes: 16 << 20 }
    }
}

impl Intake {
    /// A door in front of `producer`, whose queue is in `redis`, for the sources in `book`. It answers 503 until the first
    /// [`Intake::look`].
    pub fn new(
        redis: &Redis,
        producer: Producer,
        book: SourceBook,
        certificates: Certificates,
        settings: IntakeSettings,
    ) -> Self {
        Self(Arc::new(Shared {
            producer,
            book,
            certificates,
            inbound: Inbound::new(redis),
            pressure: Pressure::default(),
            under_way: UnderWay::default(),
            memory: Memory::new(settings.reading_bytes, settings.source_bytes),
            settings,
            counters: IntakeCounters::default(),
        }))
    }

    /// Looks once at Redis and at the snapshot of the sources.
    pub async fn look(&self, now: DateTime<Utc>) {
        join!(self.0.pressure.look(&self.0.inbound), self.0.book.refresh(now));
    }

    /// Looks every second, until `stop`.
    pub async fn keep_looking(&self, stop: CancellationToken) {
        let looking = async {
            loop {
                self.look(Utc::now()).await;
                sleep(LOOK_EVERY).await;
            }
        };
        let _ = stop.run_until_cancelled(looking).await;
    }

    /// Whether a raw event could be taken at `now`, as of the last look.
    pub fn is_ready(&self, now: DateTime<Utc>) -> bool {
        self.0.pressure.check().is_ok() && self.0.book.is_fresh(now)
    }

    /// What came in so far.
    pub fn counters(&self) -> &IntakeCounters {
        &self.0.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BODY_LIMITS, ProducerSettings};

    #[test]
    fn the_largest_body_that_a_source_may_ask_for_fits_twice_into_what_may_be_read_and_with_its_headers_into_what_may_wait()
     {
        let (most, headers) = (*BODY_LIMITS.end() as usize, 2 * ConnectionLimits::default().header_bytes);

        assert!(2 * most <= IntakeSettings::default().reading_bytes);
        assert!(most + headers + 1024 <= ProducerSettings::default().backlog_bytes as usize);
    }
}
