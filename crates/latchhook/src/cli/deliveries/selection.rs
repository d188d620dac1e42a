//! Which deliveries something is done to: by their ids, or by what they are.

use anyhow::ensure;
use clap::{ArgGroup, Args};
use database::{
    AsyncPgConnection,
    deliveries::{self, DeliveryRow, Wanted},
};

use super::filter::Filter;

/// What is shown of each, to people.
pub(super) const COLUMNS: [&str; 12] = [
    "webhook_id",
    "event_id",
    "endpoint_id",
    "state",
    "held",
    "attempts",
    "due_at",
    "behind",
    "rests_until",
    "gate",
    "was_delivered_at",
    "finished_at",
];

/// Which deliveries.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which")
    .args(["webhook_ids", "state", "endpoint", "event", "since", "until", "cause", "status"])
    .required(true)
    .multiple(true))]
pub(super) struct Selection {
    /// By their webhook ids, which no index has: every delivery is read, for about a second where there are five million. With
    /// --event, or by --event and --endpoint alone, they are found at once
    #[arg(value_name = "WEBHOOK_ID")]
    pub(super) webhook_ids: Vec<String>,
    #[command(flatten)]
    pub(super) filter: Filter,
    /// Only say which, or how many by endpoint and cause
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Those that were named by their webhook ids.
///
/// # Errors
/// When one of them is not there, or is in no state in which it is wanted.
pub(super) async fn named(conn: &AsyncPgConnection, wanted: &Wanted) -> anyhow::Result<Vec<DeliveryRow>> {
    let rows = deliveries::find(conn, wanted).await?;
    let states = wanted.states.join(" or ");
    ensure!(!rows.is_empty(), "none of these is a delivery that is {states}: latchhook deliveries list shows them");
    let is_there = |id: &&String| rows.iter().any(|row| row.webhook_id == **id);
    let missing: Vec<_> = wanted.webhook_ids.iter().filter(|id| !is_there(id)).map(String::as_str).collect();
    ensure!(missing.is_empty(), "no delivery that is {states} has the id {}", missing.join(", "));
    Ok(rows)
}
