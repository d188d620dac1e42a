//! `latchhook account`: tenants.

use anyhow::ensure;
use clap::{Args, Subcommand};
use database::{AsyncPgConnection, accounts};
use serde_json::json;
use vocabulary::AccountId;

use super::context::{Context, fresh_id};

/// Tenants: each owns its sources and endpoints
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add one, or rename the one of that id
    Add(Add),
    /// List them
    List,
}

/// What an account is made of.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// Its name in other commands; a random one if not given
    #[arg(long, value_name = "I")]
    id: Option<AccountId>,
    /// What people call it; its id if not given
    #[arg(long, value_name = "N")]
    name: Option<String>,
}

/// Runs it.
pub(super) async fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::Add(add) => add.run(context).await,
        Command::List => list(context).await,
    }
}

impl Add {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let id = self.id.map_or_else(fresh_id, Ok)?;
        let name = self.name.as_deref().unwrap_or(id.as_str());
        accounts::put(&*context.postgres().await?, &id, name).await?;
        context.out.object(&json!({"id": id, "name": name}))
    }
}

async fn list(context: &mut Context<'_>) -> anyhow::Result<()> {
    let accounts = accounts::list(&*context.postgres().await?).await?;
    let row =
        |account: &accounts::Account| json!({"id": account.id, "name": account.name, "created_at": account.created_at});
    context.out.list(&["id", "name", "created_at"], &accounts.iter().map(row).collect::<Vec<_>>())
}

/// Refuses an account that is not there, before anything is done under its name.
pub(super) async fn must_exist(conn: &AsyncPgConnection, id: &AccountId) -> anyhow::Result<()> {
    let is_there = accounts::list(conn).await?.iter().any(|account| account.id == id.as_str());
    ensure!(is_there, "there is no account {id}: add it (latchhook account add --id {id})");
    Ok(())
}
