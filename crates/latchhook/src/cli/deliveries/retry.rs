//! Making deliveries due again: at once where they are named, else as a retry that is worked chunk by chunk.

use anyhow::{Context as _, ensure};
use clap::Args;
use database::{
    AsyncPgConnection,
    deliveries::{self, MadeDue, Wanted},
    retries,
};
use diesel_async::AsyncConnection;
use serde_json::json;

use super::{
    super::{
        context::{Context, actor},
        endpoint,
    },
    TOGETHER, Word,
    filter::{Filter, State},
    job, make_due_together,
    plan::{self, Plan},
    selection::{COLUMNS, Selection, named},
    waiting,
};

/// Which deliveries to try again, and how fast.
#[derive(Debug, Args)]
pub(in crate::cli) struct Retry {
    #[command(flatten)]
    selection: Selection,
    /// So many a second at most (50 or 50/s; 0.1 is one in ten seconds)
    #[arg(long, value_name = "N/S", value_parser = rate, conflicts_with = "webhook_ids")]
    rate: Option<f64>,
    /// Those that were given up on purpose, for this reason, as deliveries summary shows it; again for more. Without it none of
    /// them is tried again, but by its id
    #[arg(long = "reason", value_name = "WHY", value_parser = plan::shown, group = "which", conflicts_with = "webhook_ids")]
    reasons: Vec<String>,
}

fn rate(text: &str) -> anyhow::Result<f64> {
    let rate = text.strip_suffix("/s").unwrap_or(text);
    ensure!(rate.parse::<f64>().is_ok(), "no rate: write how many a second, as 50 or 50/s; 0.5 is one in two seconds");
    endpoint::rate(rate)
}

impl Retry {
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let Selection { webhook_ids, filter, dry_run } = self.selection;
        let states = states(&filter, &webhook_ids)?;
        let reason = if webhook_ids.is_empty() { plan::reason(filter.state, self.reasons)? } else { None };
        let wanted = Wanted { states, reason, webhook_ids, ..filter.wanted(context)? };
        let mut conn = context.postgres().await?;
        filter.must_name_what_is_there(&conn).await?;
        if !wanted.webhook_ids.is_empty() {
            return retry_named(context, &conn, &wanted, dry_run).await;
        }
        let plan = Plan::of(context, &conn, &wanted).await?;
        plan.say_what_is_left_out(context);
        if dry_run {
            return plan.show(context, self.rate);
        }
        let actor = actor();
        let count = i64::try_from(plan.count())?;
        let new = retries::NewRetry { filter: &wanted, actor: &actor, per_second: self.rate, wanted: count };
        let retry = retries::add(&conn, &new).await?;
        job::work(context, &mut conn, retry).await
    }
}

/// Abandoned ones, where nothing else is said: a pending one is tried again by itself, and who has a delivered one wants it
/// again only if he says so, of a stretch that somebody has thought about.
fn states(filter: &Filter, webhook_ids: &[String]) -> anyhow::Result<Vec<String>> {
    ensure!(
        filter.state != Some(State::Delivered) || filter.names_endpoint_and_since(),
        "what is delivered is sent again to one --endpoint, --since when: name both; or send one event again, by \
         latchhook events replay EVENT"
    );
    let states = match filter.state {
        Some(state) => vec![state],
        None if webhook_ids.is_empty() => vec![State::Abandoned],
        None => vec![State::Abandoned, State::Pending],
    };
    Ok(states.into_iter().map(|state| state.as_str().to_owned()).collect())
}

async fn retry_named(
    context: &mut Context<'_>,
    conn: &AsyncPgConnection,
    wanted: &Wanted,
    dry_run: bool,
) -> anyhow::Result<()> {
    let rows = named(conn, wanted).await?;
    if dry_run {
        context.note(&format!("would make {} deliveries due", rows.len()));
        return context.out.list(&COLUMNS, &rows);
    }
    let states: Vec<_> = wanted.states.iter().map(String::as_str).collect();
    let made_due = make_due(context, "deliveries retry", &rows, &states).await?;
    waiting::say_what_waits(context, rows.len(), &made_due);
    let mut said = json!({"wanted": rows.len()});
    waiting::show(&mut said, context, &made_due);
    context.out.object(&said)
}

/// Makes deliveries due again and writes down who did. What is being sent at this moment is left alone, and counted nowhere.
pub(in crate::cli) async fn make_due(
    context: &Context<'_>,
    action: &str,
    rows: &[deliveries::DeliveryRow],
    states: &[&str],
) -> anyhow::Result<MadeDue> {
    let (mut conn, actor, mut made_due) = (context.postgres().await?, actor(), MadeDue::default());
    let word = Word { actor: &actor, action, detail: "" };
    for rows in rows.chunks(TOGETHER.into()) {
        let together = conn.transaction(async |conn| make_due_together(conn, &word, rows, states).await);
        let done = made_due.sum();
        made_due +=
            together.await.with_context(|| format!("{done} were made due; the rest stay as they were, repeat this"))?;
    }
    Ok(made_due)
}
