//! `latchhook deliveries`: what is owed to endpoints, and making it due again.
//!
//! The cast: [`look`] shows it, [`filter`] says which of it, and [`selection`] to which something is done: [`retry`] makes
//! some due again, [`plan`] says beforehand which, [`job`] works many of them, chunk by chunk, and [`retries`] is where a person
//! looks after that; [`waiting`] tells what they wait for; [`abandon`] gives some up. [`progress`] is said where there are millions to look at.

use clap::Subcommand;
use database::{
    AsyncPgConnection, QueryResult, audit_log,
    deliveries::{self, MadeDue},
};

mod abandon;
mod filter;
mod job;
mod look;
mod plan;
mod progress;
mod retries;
mod retry;
mod selection;
pub(super) mod waiting;

pub(super) use self::retry::make_due;
use self::{
    abandon::Abandon,
    look::{List, Summary},
    retry::Retry,
};
use super::context::Context;

/// So many are made due, or given up, in one transaction, so that dispatchers are not held up.
const TOGETHER: u16 = 1_000;

/// What is owed to endpoints
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List them, the newest first
    List(List),
    /// Count what is abandoned, or pending, by endpoint and cause
    Summary(Summary),
    /// Try abandoned ones again, pending ones at once, or send delivered ones once more, under the same webhook ids; what was
    /// given up on purpose only by its --reason, or by its id
    Retry(Retry),
    /// Give up pending ones, for a reason that is kept with them
    Abandon(Abandon),
    /// Look after retries of many
    #[command(subcommand)]
    Retries(retries::Command),
}

/// Runs it.
pub(super) async fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::List(list) => list.run(context).await,
        Command::Summary(summary) => summary.run(context).await,
        Command::Retry(retry) => retry.run(context).await,
        Command::Abandon(abandon) => abandon.run(context).await,
        Command::Retries(command) => retries::run(command, context).await,
    }
}

/// On whose word something is done to deliveries, and as what it is written down.
struct Word<'a> {
    actor: &'a str,
    action: &'a str,
    detail: &'a str,
}

impl Word<'_> {
    async fn write_down<'i>(&self, conn: &AsyncPgConnection, ids: impl Iterator<Item = &'i str>) -> QueryResult<()> {
        let target = ids.collect::<Vec<_>>().join(" ");
        let Word { actor, action, detail } = *self;
        audit_log::record(conn, &audit_log::Deed { actor, action, target: &target, detail }).await
    }
}

/// Makes deliveries due again and writes down who did, and which, in the transaction of the caller. What is being sent at this
/// moment is left alone, and not written down.
async fn make_due_together(
    conn: &AsyncPgConnection,
    word: &Word<'_>,
    rows: &[deliveries::DeliveryRow],
    states: &[&str],
) -> QueryResult<MadeDue> {
    if rows.is_empty() {
        return Ok(MadeDue::default());
    }
    let again = deliveries::make_due(conn, rows, states).await?;
    if !again.rows.is_empty() {
        word.write_down(conn, again.rows.iter().map(|row| row.webhook_id.as_str())).await?;
    }
    Ok(again.made_due)
}
