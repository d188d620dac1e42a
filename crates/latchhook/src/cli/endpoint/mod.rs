//! `latchhook endpoint`: where deliveries go.

mod access;
mod add;
mod filter;
mod ping;
mod rotate;
mod secrets;
mod show;
mod terms;
mod test_filter;

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use database::{AsyncPgConnection, endpoints};
use diesel_async::AsyncConnection;
use serde_json::json;
use vocabulary::EndpointId;

pub(super) use self::terms::rate;
use self::{add::Add, rotate::Rotate, show::Show, test_filter::TestFilter};
use super::context::Context;

/// Customers' URLs: where deliveries go
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add one, or give the one of that id this URL and these terms
    Add(Box<Add>),
    /// List them, without their secrets
    List,
    /// Show one, what it is owed, and when a delivery to it would be given up
    Show(Show),
    /// Send to it again, what was held first
    Enable(Which),
    /// Hold what it is owed
    Disable(Disable),
    /// Give it a new secret; the others go on signing beside it for a while
    Rotate(Rotate),
    /// Say of each body whether a filter wants it, and why; status 1 if it does not want one of them
    TestFilter(TestFilter),
    /// Send it a signed test event now, and say what came of it; status 1 if that is no 2xx
    Ping(Which),
}

/// Which endpoint.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Which endpoint
    id: EndpointId,
}

/// Which endpoint, and why.
#[derive(Debug, Args)]
pub(super) struct Disable {
    /// Which endpoint
    id: EndpointId,
    /// Why, for whoever looks at it later
    #[arg(long, value_name = "WHY", default_value = "disabled by hand")]
    reason: String,
}

/// Runs it.
pub(super) async fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::Add(add) => add.run(context).await,
        Command::List => show::list(context).await,
        Command::Show(show) => show.run(context).await,
        Command::Enable(Which { id }) => enable(context, &id).await,
        Command::Disable(Disable { id, reason }) => disable(context, &id, &reason).await,
        Command::Rotate(rotate) => rotate.run(context).await,
        Command::TestFilter(test) => test.run(context).await,
        Command::Ping(Which { id }) => ping::run(context, &id).await,
    }
}

async fn enable(context: &mut Context<'_>, id: &EndpointId) -> anyhow::Result<()> {
    let mut conn = context.postgres().await?;
    let enabled = conn.transaction(async |conn| endpoints::enable(conn, id).await).await?;
    let owed = enabled.with_context(|| unknown(id))?;
    context.out.object(&json!({"id": id, "enabled": true, "due_now": owed}))
}

async fn disable(context: &mut Context<'_>, id: &EndpointId, reason: &str) -> anyhow::Result<()> {
    let conn = context.postgres().await?;
    must_exist(&conn, id).await?;
    endpoints::disable(&conn, id, reason).await?;
    // Of one that was disabled before, the reason stays.
    let reason = endpoints::list(&conn).await?.into_iter().find(|row| row.id == id.as_str());
    let reason = reason.and_then(|row| row.disabled_reason);
    context.out.object(&json!({"id": id, "enabled": false, "disabled_reason": reason}))
}

/// Refuses an endpoint that is not there, where one is only looked for by its name.
pub(super) async fn must_exist(conn: &AsyncPgConnection, id: &EndpointId) -> anyhow::Result<()> {
    let is_there = endpoints::list(conn).await?.iter().any(|endpoint| endpoint.id == id.as_str());
    ensure!(is_there, unknown(id));
    Ok(())
}

fn unknown(id: &EndpointId) -> String {
    format!("there is no endpoint {id}: latchhook endpoint list names them")
}
