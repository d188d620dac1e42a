//! `latchhook deliveries retries`: retries of many, how far each got, going on with it, and calling it off.

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use database::{
    AsyncPgConnection, audit_log,
    retries::{self, RetryRow},
};
use diesel_async::AsyncConnection;

use super::{
    super::context::{Context, actor},
    job, waiting,
};

/// What is shown of each, to people.
const COLUMNS: [&str; 12] = [
    "id",
    "state",
    "wanted",
    "taken",
    "due",
    "waiting_in_lane",
    "held",
    "resting",
    "per_second",
    "actor",
    "created_at",
    "ended_at",
];

/// Retries of many deliveries
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// List them, the newest first
    List(List),
    /// Show one: which deliveries, and how far it got
    Show(Which),
    /// Go on with one that was interrupted, or has stopped
    Resume(Which),
    /// Call one off: what it made due stays due
    Cancel(Which),
}

/// How many.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

/// Which retry.
#[derive(Debug, Args)]
pub(in crate::cli) struct Which {
    /// Its number
    #[arg(value_parser = number)]
    id: i64,
}

fn number(text: &str) -> anyhow::Result<i64> {
    text.parse()
        .ok()
        .context("no number of a retry: write it as latchhook deliveries retries list prints it, such as 17")
}

/// Runs it.
pub(super) async fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut conn = context.postgres().await?;
    match command {
        Command::List(List { limit }) => context.out.list(&COLUMNS, &retries::list(&conn, limit.into()).await?),
        Command::Show(Which { id }) => show(context, &find(&conn, id).await?),
        Command::Resume(Which { id }) => {
            let retry = find(&conn, id).await?;
            ensure!(
                !retry.has_ended(),
                "retry {id} is {}: ask for a new one, by latchhook deliveries retry",
                retry.state
            );
            job::work(context, &mut conn, retry).await
        }
        Command::Cancel(Which { id }) => cancel(context, &mut conn, id).await,
    }
}

fn show(context: &mut Context<'_>, retry: &RetryRow) -> anyhow::Result<()> {
    let mut said = serde_json::to_value(retry)?;
    waiting::show(&mut said, context, &retry.made_due().context(job::LATER)?);
    context.out.object(&said)
}

async fn find(conn: &AsyncPgConnection, id: i64) -> anyhow::Result<RetryRow> {
    let found = retries::find(conn, id).await?;
    found.with_context(|| format!("there is no retry {id}: latchhook deliveries retries list names them"))
}

async fn cancel(context: &mut Context<'_>, conn: &mut AsyncPgConnection, id: i64) -> anyhow::Result<()> {
    let (actor, target) = (actor(), id.to_string());
    let deed = audit_log::Deed { actor: &actor, action: "deliveries retries cancel", target: &target, detail: "" };
    let cancel = async |conn: &mut AsyncPgConnection| {
        let cancelled = conn.transaction(async |conn| {
            let cancelled = retries::end(conn, id, "cancelled").await?;
            if cancelled.is_some() {
                audit_log::record(conn, &deed).await?;
            }
            database::QueryResult::Ok(cancelled)
        });
        cancelled.await
    };
    match job::patiently(conn, cancel).await? {
        Some(retry) => job::print(context, &retry),
        None => bail!("retry {id} is {} already", find(conn, id).await?.state),
    }
}
