//! Making deliveries due again: at once where they are named, else as a retry that is worked chunk by chunk.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{ArgGroup, Args};
use database::{
    AsyncPgConnection,
    deliveries::{self, Cause, Wanted},
    retries,
};
use diesel_async::AsyncConnection;
use serde_json::json;

use super::{
    super::{
        context::{Context, actor},
        endpoint,
        schedule::readable,
    },
    TOGETHER, Word,
    filter::{Filter, State},
    job,
    look::{self, CAUSE},
    make_due_together,
};

/// What is shown of each, to people.
const COLUMNS: [&str; 8] =
    ["webhook_id", "event_id", "endpoint_id", "state", "held", "attempts", "due_at", "finished_at"];

/// Which deliveries to try again, and how fast.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which")
    .args(["webhook_ids", "state", "endpoint", "event", "since", "until", "cause", "status"])
    .required(true)
    .multiple(true))]
pub(in crate::cli) struct Retry {
    /// By their webhook ids, which no index has: every delivery is read, for about a second where there are five million. With
    /// --event, or by --event and --endpoint alone, they are found at once
    #[arg(value_name = "WEBHOOK_ID")]
    webhook_ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// So many a second at most (50 or 50/s; 0.1 is one in ten seconds)
    #[arg(long, value_name = "N/S", value_parser = rate, conflicts_with = "webhook_ids")]
    rate: Option<f64>,
    /// Only say which, or how many by endpoint and cause
    #[arg(long)]
    dry_run: bool,
}

fn rate(text: &str) -> anyhow::Result<f64> {
    let rate = text.strip_suffix("/s").unwrap_or(text);
    ensure!(rate.parse::<f64>().is_ok(), "no rate: write how many a second, as 50 or 50/s; 0.5 is one in two seconds");
    endpoint::rate(rate)
}

impl Retry {
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let wanted = Wanted { states: self.states()?, ..self.filter.wanted(context)? };
        let mut conn = context.postgres().await?;
        self.filter.must_name_what_is_there(&conn).await?;
        if !self.webhook_ids.is_empty() {
            let wanted = Wanted { webhook_ids: self.webhook_ids, ..wanted };
            return retry_named(context, &conn, &wanted, self.dry_run).await;
        }
        let causes = look::count(context, &conn, &wanted).await?;
        if self.dry_run {
            return show_plan(context, &causes, self.rate);
        }
        let actor = actor();
        let count = i64::try_from(count(&causes))?;
        let new = retries::NewRetry { filter: &wanted, actor: &actor, per_second: self.rate, wanted: count };
        let retry = retries::add(&conn, &new).await?;
        job::work(context, &mut conn, retry).await
    }

    /// Abandoned ones, where nothing else is said: a pending one is tried again by itself.
    fn states(&self) -> anyhow::Result<Vec<String>> {
        let advice = "what is delivered is not retried: latchhook events replay sends an event once more";
        ensure!(self.filter.state != Some(State::Delivered), advice);
        let states = match self.filter.state {
            Some(state) => vec![state],
            None if self.webhook_ids.is_empty() => vec![State::Abandoned],
            None => vec![State::Abandoned, State::Pending],
        };
        Ok(states.into_iter().map(|state| state.as_str().to_owned()).collect())
    }
}

async fn retry_named(
    context: &mut Context<'_>,
    conn: &AsyncPgConnection,
    wanted: &Wanted,
    dry_run: bool,
) -> anyhow::Result<()> {
    let rows = deliveries::find(conn, wanted).await?;
    ensure!(
        !rows.is_empty(),
        "none of these is a delivery that is {}: latchhook deliveries list shows them",
        wanted.states.join(" or ")
    );
    let is_there = |id: &&String| rows.iter().any(|row| row.webhook_id == **id);
    let missing: Vec<_> = wanted.webhook_ids.iter().filter(|id| !is_there(id)).map(String::as_str).collect();
    ensure!(missing.is_empty(), "no delivery that is {} has the id {}", wanted.states.join(" or "), missing.join(", "));
    if dry_run {
        context.note(&format!("would make {} deliveries due", rows.len()));
        return context.out.list(&COLUMNS, &rows);
    }
    let states: Vec<_> = wanted.states.iter().map(String::as_str).collect();
    let due = make_due(context, "deliveries retry", &rows, &states).await?;
    context.out.object(&json!({"wanted": rows.len(), "due": due}))
}

fn show_plan(context: &mut Context<'_>, causes: &[Cause], rate: Option<f64>) -> anyhow::Result<()> {
    let count = count(causes);
    let takes = rate.and_then(|rate| Duration::try_from_secs_f64(count as f64 / rate).ok());
    if context.out.is_json() {
        let takes_s = takes.map(|takes| takes.as_secs());
        return context.out.json(&json!({"wanted": count, "takes_s": takes_s, "causes": causes}));
    }
    let takes = takes.map(|takes| format!(", which takes {}", readable(Duration::from_secs(takes.as_secs()))));
    context.note(&format!("would make {count} deliveries due{}", takes.unwrap_or_default()));
    context.out.list(&CAUSE, causes)
}

fn count(causes: &[Cause]) -> u64 {
    causes.iter().map(|cause| cause.count).sum()
}

/// Makes deliveries due again and writes down who did. What is being sent at this moment is left alone, and not counted.
pub(in crate::cli) async fn make_due(
    context: &Context<'_>,
    action: &str,
    rows: &[deliveries::DeliveryRow],
    states: &[&str],
) -> anyhow::Result<usize> {
    let (mut conn, actor, mut due) = (context.postgres().await?, actor(), 0);
    let word = Word { actor: &actor, action, detail: "" };
    for rows in rows.chunks(TOGETHER.into()) {
        let together = conn.transaction(async |conn| make_due_together(conn, &word, rows, states).await);
        due +=
            together.await.with_context(|| format!("{due} were made due; the rest stay as they were, repeat this"))?;
    }
    Ok(due)
}
