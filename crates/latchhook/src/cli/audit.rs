//! `latchhook audit`: promises 1 to 4, checked on the live stores.
//!
//! The cast: *numbers*, which the queue gives without gaps; *pending* ones, which it still holds; *receipts*, which the
//! transaction that settles a raw event leaves in Postgres; *losses*, which a person has accepted. Read in this order, so
//! that nothing slips between: a number that is no longer pending when we look there has its receipt when we look at
//! those.

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use database::{
    AsyncPgConnection,
    audit::{self, Finding},
};
use queue::{Inbound, Redis};
use serde::Serialize;
use serde_json::{Value, json};

mod accept;
mod numbers;
mod queue_checks;
mod ranges;

use super::context::Context;
use numbers::Numbers;

/// Check the four promises on the live stores; status 1 on a breach
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Audit {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Accept(accept::Accept),
}

/// What an audit found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Whether every promise is kept, but for what was accepted as lost.
    pub(crate) kept: bool,
    sums: Value,
    accepted: Value,
    checks: Vec<Finding>,
}

impl Report {
    /// What must be true, and is not.
    pub(crate) fn broken(&self) -> impl Iterator<Item = &Finding> {
        self.checks.iter().filter(|finding| finding.breaches > 0)
    }

    /// How many checks there were.
    pub(crate) fn checks(&self) -> usize {
        self.checks.len()
    }
}

impl Audit {
    /// Runs it.
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        match self.command {
            None => look(context).await,
            Some(Command::Accept(accept)) => accept.run(context).await,
        }
    }
}

async fn look(context: &mut Context<'_>) -> anyhow::Result<()> {
    let redis =
        context.redis().await.context("what the queue holds cannot be asked, so nothing can be said of promise 2")?;
    let mut conn = context.postgres().await?;
    let report = check(&redis, &mut conn).await?;
    print(context, &report)?;
    ensure!(
        report.kept,
        "{} of the checks found a breach: the ids are above; latchhook events show tells of each",
        report.broken().count()
    );
    Ok(())
}

/// Checks the promises on these stores.
pub(crate) async fn check(redis: &Redis, conn: &mut AsyncPgConnection) -> anyhow::Result<Report> {
    audit::prepare(conn).await?;
    let inbound = Inbound::new(redis);
    let numbers = Numbers::read(&inbound, conn).await?;
    let sums = numbers.beside(audit::sums(conn).await?)?;
    let mut checks = audit::check(conn).await?;
    checks.extend([numbers.forgotten(), numbers.missing()]);
    checks.extend(queue_checks::findings(redis, &inbound).await?);
    checks.sort_by_key(|finding| finding.promise);
    let kept = checks.iter().all(|finding| finding.breaches == 0);
    Ok(Report { kept, sums, accepted: numbers.accepted(), checks })
}

fn print(context: &mut Context<'_>, report: &Report) -> anyhow::Result<()> {
    if context.out.is_json() {
        return context.out.json(report);
    }
    let row = |finding: &Finding| {
        let found = if finding.breaches == 0 { "kept".to_owned() } else { format!("{} breaches", finding.breaches) };
        json!({"promise": finding.promise, "what_must_be_true": finding.check, "found": found, "where": finding.offenders})
    };
    context.out.object(&report.sums)?;
    context.out.text("")?;
    let rows: Vec<_> = report.checks.iter().map(row).collect();
    context.out.list(&["promise", "what_must_be_true", "found", "where"], &rows)?;
    accepted(&report.accepted).map_or(Ok(()), |line| context.out.text(&format!("\n{line}")))
}

/// What is no breach, because a person has accepted it.
fn accepted(accepted: &Value) -> Option<String> {
    let count = |name: &str| accepted[name].as_u64().unwrap_or(0);
    let (raw_events, ranges, endless) = (count("raw_events"), count("ranges"), count("incarnations_without_end"));
    let s = |count: u64| if count == 1 { "" } else { "s" };
    let numbered = format!("{raw_events} raw event{} in {ranges} range{}", s(raw_events), s(ranges));
    let numbered = (raw_events > 0).then_some(numbered);
    let unknown = format!("an unknown number at the end of {endless} incarnation{}", s(endless));
    let unknown = (endless > 0).then_some(unknown);
    let parts: Vec<String> = numbered.into_iter().chain(unknown).collect();
    (!parts.is_empty()).then(|| format!("accepted: {}", parts.join(", and ")))
}
