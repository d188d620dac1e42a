//! `latchhook deliveries`: what is owed to endpoints, and making it due again.

use anyhow::{Context as _, ensure};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use database::{AsyncPgConnection, audit_log, deliveries, events};
use diesel_async::AsyncConnection;
use serde_json::json;
use uuid::Uuid;
use vocabulary::EndpointId;

use super::{
    context::{Context, actor},
    endpoint,
    since::Since,
};

/// So many are made due in one transaction.
const TOGETHER: usize = 1_000;
/// What is shown of each, to people.
const COLUMNS: [&str; 8] =
    ["webhook_id", "event_id", "endpoint_id", "state", "held", "attempts", "due_at", "finished_at"];

/// What is owed to endpoints
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List them, the newest first
    List(List),
    /// Try abandoned ones again, or pending ones at once, under the same webhook ids
    Retry(Retry),
}

/// Where a delivery has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    /// Owed
    Pending,
    /// A customer has it
    Delivered,
    /// Visibly given up
    Abandoned,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Which deliveries.
#[derive(Debug, Args)]
struct Filter {
    /// Only those in this state
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    /// Only those to this endpoint
    #[arg(long, value_name = "ID")]
    endpoint: Option<EndpointId>,
    /// Only those of this event
    #[arg(long, value_name = "ID")]
    event: Option<Uuid>,
    /// Only those committed since (2026-11-23T20:00:00Z, or 15m, 6h, 2d ago)
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,
}

/// Which deliveries, and how many of them.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    filter: Filter,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

/// Which deliveries to try again.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").args(["webhook_ids", "state", "endpoint", "event", "since"]).required(true).multiple(true))]
pub(super) struct Retry {
    /// By their webhook ids
    #[arg(value_name = "WEBHOOK_ID")]
    webhook_ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// Only say which
    #[arg(long)]
    dry_run: bool,
}

/// Runs it.
pub(super) async fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::List(list) => list.run(context).await,
        Command::Retry(retry) => retry.run(context).await,
    }
}

impl Filter {
    fn wanted<'a>(&'a self, context: &Context<'_>) -> deliveries::Wanted<'a> {
        deliveries::Wanted {
            webhook_ids: Vec::new(),
            event_id: self.event,
            endpoint_id: self.endpoint.as_ref().map(EndpointId::as_str),
            states: self.state.map(State::as_str).into_iter().collect(),
            since: self.since.map(|since| since.as_of(context.now)),
        }
    }

    /// A misspelt name would match nothing, as if there were nothing to do.
    async fn must_name_what_is_there(&self, conn: &AsyncPgConnection) -> anyhow::Result<()> {
        if let Some(endpoint) = &self.endpoint {
            endpoint::must_exist(conn, endpoint).await?;
        }
        if let Some(event) = self.event {
            let found = events::find(conn, event).await?;
            ensure!(found.is_some(), "there is no event {event}: latchhook events list names them");
        }
        Ok(())
    }
}

impl List {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let conn = context.postgres().await?;
        self.filter.must_name_what_is_there(&conn).await?;
        let rows = deliveries::list(&conn, &self.filter.wanted(context), self.limit.into()).await?;
        context.out.list(&COLUMNS, &rows)
    }
}

impl Retry {
    /// Abandoned ones, where nothing else is said: a pending one is tried again by itself.
    fn states(&self) -> anyhow::Result<Vec<&'static str>> {
        let advice = "what is delivered is not retried: latchhook events replay sends an event once more";
        ensure!(self.filter.state != Some(State::Delivered), advice);
        Ok(match self.filter.state {
            Some(state) => vec![state.as_str()],
            None if self.webhook_ids.is_empty() => vec!["abandoned"],
            None => vec!["abandoned", "pending"],
        })
    }

    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let states = self.states()?;
        let webhook_ids = self.webhook_ids.iter().map(String::as_str).collect();
        let wanted = deliveries::Wanted { webhook_ids, states: states.clone(), ..self.filter.wanted(context) };
        let conn = context.postgres().await?;
        self.filter.must_name_what_is_there(&conn).await?;
        let rows = deliveries::list(&conn, &wanted, i64::MAX).await?;
        ensure!(
            !rows.is_empty() || self.webhook_ids.is_empty(),
            "none of these is a delivery that is {}: latchhook deliveries list shows them",
            states.join(" or ")
        );
        if self.dry_run {
            context.note(&format!("would make {} deliveries due", rows.len()));
            return context.out.list(&COLUMNS, &rows);
        }
        let due = make_due(context, "deliveries retry", &rows, &states).await?;
        context.out.object(&json!({"wanted": rows.len(), "due": due}))
    }
}

/// Makes deliveries due again and writes down who did; a thousand to a transaction, so that dispatchers are not held up.
/// What is being sent at this moment is left alone, and not counted.
pub(super) async fn make_due(
    context: &Context<'_>,
    action: &str,
    rows: &[deliveries::DeliveryRow],
    states: &[&str],
) -> anyhow::Result<usize> {
    let (mut conn, actor, mut due) = (context.postgres().await?, actor(), 0);
    for rows in rows.chunks(TOGETHER) {
        let target = rows.iter().map(|row| row.webhook_id.as_str()).collect::<Vec<_>>().join(" ");
        let deed = audit_log::Deed { actor: &actor, action, target: &target, detail: "" };
        let together = conn.transaction(async |conn| {
            audit_log::record(conn, &deed).await?;
            deliveries::make_due(conn, rows, states).await
        });
        due +=
            together.await.with_context(|| format!("{due} were made due; the rest stay as they were, repeat this"))?;
    }
    Ok(due)
}
