//! Looking: each delivery, and how many there are by endpoint and cause.

use anyhow::ensure;
use clap::Args;
use database::{
    AsyncPgConnection,
    deliveries::{self, Cause, Wanted},
};

use super::{
    super::{context::Context, schedule::FleetSchedule},
    filter::{Filter, State},
    progress::Progress,
};

/// What is shown of each, to people.
const COLUMNS: [&str; 15] = [
    "webhook_id",
    "event_id",
    "endpoint_id",
    "state",
    "held",
    "attempts",
    "outcome",
    "http_status",
    "due_at",
    "behind",
    "rests_until",
    "gate",
    "gives_up_at",
    "finished_at",
    "abandoned_reason",
];
/// What is shown of each group.
pub(super) const CAUSE: [&str; 8] =
    ["endpoint_id", "outcome", "http_status", "abandoned_reason", "count", "sent_again", "oldest", "newest"];

/// Which deliveries, and how many of them.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    filter: Filter,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    #[command(flatten)]
    schedule: FleetSchedule,
}

/// Which deliveries; abandoned ones, where no state is named.
#[derive(Debug, Args)]
pub(in crate::cli) struct Summary {
    #[command(flatten)]
    filter: Filter,
}

impl List {
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let conn = context.postgres().await?;
        self.filter.must_name_what_is_there(&conn).await?;
        let (wanted, mut progress) = (self.filter.wanted(context)?, Progress::default());
        let looked = |more| progress.note(context, more);
        let rows = deliveries::list(&conn, &wanted, self.limit as usize, looked).await?;
        let rows: Vec<_> = rows.into_iter().map(|row| self.schedule.foresee(row)).collect();
        context.out.list(&COLUMNS, &rows)
    }
}

impl Summary {
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let state = self.filter.state.unwrap_or(State::Abandoned);
        ensure!(state != State::Delivered, "what is delivered has no cause: --state is abandoned or pending");
        let wanted = Wanted { states: vec![state.as_str().to_owned()], ..self.filter.wanted(context)? };
        let conn = context.postgres().await?;
        self.filter.must_name_what_is_there(&conn).await?;
        let causes = count(context, &conn, &wanted).await?;
        context.out.list(&CAUSE, &causes)
    }
}

/// Counts by endpoint and cause, and says how far it got.
pub(super) async fn count(
    context: &Context<'_>,
    conn: &AsyncPgConnection,
    wanted: &Wanted,
) -> anyhow::Result<Vec<Cause>> {
    let mut progress = Progress::default();
    Ok(deliveries::causes(conn, wanted, |more| progress.note(context, more)).await?)
}

/// How many there are of all causes.
pub(super) fn sum(causes: &[Cause]) -> u64 {
    causes.iter().map(|cause| cause.count).sum()
}
