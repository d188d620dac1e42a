//! `latchhook outbox`: the table from which `run --roles forwarder` takes what an app has committed.

use anyhow::ensure;
use clap::{Args, Subcommand};
use database::{
    Connection,
    outbox::{self, Which},
};
use serde_json::json;
use vocabulary::SourceId;

use super::context::Context;

/// What is shown of each failed row, to people.
const COLUMNS: [&str; 6] = ["id", "source_id", "key", "behind", "failed_at", "error"];

/// The table in an app's Postgres that the forwarder empties
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print what makes the table, for the app's own migrations
    Sql,
    /// Show how much waits, and which rows were put aside for what reason
    Status(Status),
    /// Have rows tried again that were put aside
    Retry(Retry),
}

/// How much to show.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// At most so many failed rows
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

/// Which of the failed rows.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Retry {
    /// These
    #[arg(value_name = "ID", conflicts_with_all = ["all", "source"])]
    ids: Vec<i64>,
    /// Those of a source
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    source: Option<SourceId>,
    /// All of them
    #[arg(long)]
    all: bool,
}

/// Runs it.
pub(super) async fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::Sql => sql(context),
        Command::Status(status) => status.run(context).await,
        Command::Retry(retry) => retry.run(context).await,
    }
}

fn sql(context: &mut Context<'_>) -> anyhow::Result<()> {
    if context.out.is_json() { context.out.json(&json!({"sql": outbox::DDL})) } else { context.out.text(outbox::DDL) }
}

impl Status {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let conn = connection(context).await?;
        let obstacles = outbox::obstacles(&conn).await?;
        for obstacle in &obstacles {
            context.note(obstacle);
        }
        let (depth, failed) = (outbox::depth(&conn).await?, outbox::failed(&conn, self.limit).await?);
        if context.out.is_json() {
            return context.out.json(&json!({"depth": depth, "failed": failed, "obstacles": obstacles}));
        }
        context.out.object(&depth)?;
        if failed.is_empty() { Ok(()) } else { context.out.list(&COLUMNS, &failed) }
    }
}

impl Retry {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let which = match (self.source, self.ids) {
            (Some(source), _) => Which::Of(source.into()),
            (None, ids) if ids.is_empty() => Which::All,
            (None, ids) => Which::These(ids),
        };
        let retried = outbox::retry(&*connection(context).await?, &which).await?;
        if let Which::These(ids) = &which {
            let others: Vec<_> = ids.iter().filter(|id| !retried.contains(id)).map(i64::to_string).collect();
            ensure!(others.is_empty(), "retried {}; no failed row is called {}", retried.len(), others.join(", "));
        }
        context.out.object(&json!({"retried": retried.len()}))
    }
}

async fn connection(context: &Context<'_>) -> anyhow::Result<Connection> {
    Ok(database::Database::for_outbox(context.outbox_url()?, 1)?.connection().await?)
}
