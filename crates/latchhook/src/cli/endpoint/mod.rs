//! `latchhook endpoint`: where deliveries go.

mod access;
mod add;
mod filter;
mod ping;
mod rotate;
mod secrets;
mod set;
mod show;
mod standing;
mod terms;
mod test_filter;

use anyhow::{Context as _, anyhow, ensure};
use clap::{Args, Subcommand};
use database::{
    AsyncPgConnection, QueryResult, accounts, audit_log,
    due::{self, Owed},
    endpoints,
};
use diesel_async::AsyncConnection;
use dispatcher::{Granted, Guard};
use serde_json::json;
use vocabulary::{AccountId, EndpointId};

pub(super) use self::terms::rate;
use self::{add::Add, ping::Ping, rotate::Rotate, set::Set, show::Show, test_filter::TestFilter};
use super::{
    context::{Context, actor},
    sentence,
};

/// Customers' URLs: where deliveries go
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add one, or give the one of that id this URL and these terms, and no others
    Add(Box<Add>),
    /// Change what is given of one; what is not named stays as it is
    Set(Box<Set>),
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
    Ping(Ping),
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
    #[arg(long, value_name = "WHY", default_value = "disabled by hand", value_parser = sentence::reason)]
    reason: String,
}

/// Runs it.
pub(super) async fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::Add(add) => add.run(context).await,
        Command::Set(set) => set.run(context).await,
        Command::List => show::list(context).await,
        Command::Show(show) => show.run(context).await,
        Command::Enable(Which { id }) => enable(context, &id).await,
        Command::Disable(Disable { id, reason }) => disable(context, &id, &reason).await,
        Command::Rotate(rotate) => rotate.run(context).await,
        Command::TestFilter(test) => test.run(context).await,
        Command::Ping(ping) => ping.run(context).await,
    }
}

async fn enable(context: &mut Context<'_>, id: &EndpointId) -> anyhow::Result<()> {
    let mut conn = context.postgres().await?;
    must_exist(&conn, id).await?;
    due::catch_up(&conn, id).await?;
    let actor = actor();
    let deed = audit_log::Deed { actor: &actor, action: "endpoint enable", target: id.as_str(), detail: "" };
    let enabling = conn.transaction(async |conn| {
        let is_there = endpoints::enable(conn, id).await?;
        if is_there {
            audit_log::record(conn, &deed).await?;
        }
        QueryResult::Ok(is_there)
    });
    ensure!(enabling.await?, unknown(id));
    let Owed { due, waiting_in_lane, .. } = due::owed_to(&conn, id.as_str()).await?;
    context.out.object(&json!({"id": id, "enabled": true, "due_now": due, "waiting_in_lane": waiting_in_lane}))
}

async fn disable(context: &mut Context<'_>, id: &EndpointId, reason: &str) -> anyhow::Result<()> {
    let mut conn = context.postgres().await?;
    must_exist(&conn, id).await?;
    let actor = actor();
    let deed = audit_log::Deed { actor: &actor, action: "endpoint disable", target: id.as_str(), detail: reason };
    let disabling = conn.transaction(async |conn| {
        if endpoints::disable_by_hand(conn, id, reason).await? {
            audit_log::record(conn, &deed).await?;
        }
        QueryResult::Ok(())
    });
    disabling.await?;
    // Of one that a person had disabled before, the reason stays.
    let reason = endpoints::find(&conn, id).await?.and_then(|row| row.disabled_reason);
    context.out.object(&json!({"id": id, "enabled": false, "disabled_reason": reason}))
}

/// Refuses a URL that may not be sent to. The reason is not for a customer's eyes, but an operator is who types this.
async fn must_be_allowed(
    conn: &AsyncPgConnection,
    account: &AccountId,
    url: &str,
    context: &Context<'_>,
) -> anyhow::Result<()> {
    let ranges = accounts::find(conn, account).await?.map(|account| account.allowed_private).unwrap_or_default();
    let granted = Granted::of(&ranges)
        .with_context(|| format!("the ranges of {account} cannot be read: give them again (latchhook account set)"))?;
    let guard = Guard::new(context.settings.allow_private_endpoints.clone().unwrap_or_default()).granting(granted);
    guard.check_url(url).await.map_err(|refused| anyhow!("{refused}: {}", refused.detail()))
}

/// Refuses an endpoint that is not there, where one is only looked for by its name.
pub(super) async fn must_exist(conn: &AsyncPgConnection, id: &EndpointId) -> anyhow::Result<()> {
    endpoints::find(conn, id).await?.map(drop).with_context(|| unknown(id))
}

fn unknown(id: &EndpointId) -> String {
    format!("there is no endpoint {id}: latchhook endpoint list names them")
}
