//! Whether it was right: a fast wrong answer is a failed run.

use database::{Database, audit as sums};
use queue::Redis;

use super::send::Sent;
use crate::cli::audit;

/// What must stand in Postgres at the end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Expected {
    /// Raw events that were accepted.
    pub(super) raw_events: u64,
    /// Different events in them.
    pub(super) events: u64,
    /// What they owe.
    pub(super) deliveries: u64,
    /// Of that, to endpoints that do not take it.
    pub(super) left: u64,
}

impl Expected {
    /// What stands there already.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub(super) async fn of(database_url: &str) -> anyhow::Result<Self> {
        let sums = sums::sums(&*Database::new(database_url, 1)?.connection().await?).await?;
        let [raw_events, events, deliveries] = [sums.raw_events, sums.events, sums.deliveries].map(i64::cast_unsigned);
        Ok(Self { raw_events, events, deliveries, left: 0 })
    }

    /// What stands there when this has come to what stood there.
    pub(super) fn after(self, before: Self) -> Self {
        Self {
            raw_events: before.raw_events + self.raw_events,
            events: before.events + self.events,
            deliveries: before.deliveries + self.deliveries,
            left: before.left + self.left,
        }
    }

    /// More was sent, under new ids.
    pub(super) fn sent(&mut self, sent: &Sent, endpoints: u64) {
        self.raw_events += sent.accepted;
        self.events += sent.distinct;
        self.deliveries += sent.distinct * endpoints;
    }
}

/// What is wrong with what stands in the stores; nothing if all is right.
///
/// # Errors
/// When a store does not answer.
pub(super) async fn judge(redis: &Redis, database_url: &str, expected: &Expected) -> anyhow::Result<Vec<String>> {
    let mut postgres = Database::new(database_url, 1)?.connection().await?;
    let report = audit::check(redis, &mut postgres).await?;
    let broken = report.broken().map(|finding| format!("audit: {} breaches of: {}", finding.breaches, finding.check));
    let broken: Vec<String> = broken.collect();
    let sums = sums::sums(&postgres).await?;
    let Expected { raw_events, events, deliveries, left } = *expected;
    let must = [
        ("raw events settled", sums.raw_events, raw_events),
        ("rows of the ledger", sums.events, events),
        ("deliveries owed", sums.deliveries, deliveries),
        ("of them delivered", sums.delivered, deliveries - left),
        ("items in quarantine", sums.quarantined, 0),
    ];
    let differing = must.into_iter().filter(|(_, is, must)| is.cast_unsigned() != *must);
    Ok(differing.map(|(what, is, must)| format!("{is} {what}, not {must}")).chain(broken).collect())
}
