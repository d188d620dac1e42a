//! `latchhook account`: tenants.

use anyhow::{Context as _, ensure};
use clap::{ArgGroup, Args, Subcommand};
use database::{AsyncPgConnection, accounts, audit_log};
use diesel_async::AsyncConnection;
use dispatcher::Granted;
use serde_json::{Value, json};
use vocabulary::AccountId;

use super::{
    context::{Context, actor, fresh_id},
    sentence,
};

/// Tenants: each owns its sources and endpoints
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add one, or rename the one of that id
    Add(Add),
    /// List them
    List,
    /// Show one
    Show(Which),
    /// Say which private networks the endpoints of one may be in; attempts from now on are held to it
    Set(Set),
}

/// What an account is made of.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// Its name in other commands; a random one if not given
    #[arg(long, value_name = "I")]
    id: Option<AccountId>,
    /// What people call it; what it is called already, or its id, if not given
    #[arg(long, value_name = "N", value_parser = sentence::name)]
    name: Option<String>,
    #[command(flatten)]
    ranges: Ranges,
}

/// Which account.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Which account
    id: AccountId,
}

/// Which account, and what changes.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).args(["allow_private", "no_allow_private"]))]
pub(super) struct Set {
    /// Which account
    id: AccountId,
    #[command(flatten)]
    ranges: Ranges,
}

/// `--allow-private` and `--no-allow-private`.
#[derive(Debug, Args)]
pub(super) struct Ranges {
    /// Private networks that its endpoints may be in, by http and on any port: CIDRs with commas, in place of those before
    #[arg(long, value_name = "CIDRS")]
    allow_private: Option<Granted>,
    /// None any more
    #[arg(long, conflicts_with = "allow_private")]
    no_allow_private: bool,
}

impl Ranges {
    /// What they are to be from now on; `None` is as they are.
    fn wanted(self) -> Option<Granted> {
        self.allow_private.or_else(|| self.no_allow_private.then(Granted::default))
    }
}

/// Runs it.
pub(super) async fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::Add(add) => add.run(context).await,
        Command::List => list(context).await,
        Command::Show(Which { id }) => show(context, &id).await,
        Command::Set(set) => set.run(context).await,
    }
}

impl Add {
    /// The one transaction: an account is not left without the ranges that it was added with.
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let id = self.id.map_or_else(fresh_id, Ok)?;
        let (given, ranges) = (self.name, self.ranges.wanted());
        let mut conn = context.postgres().await?;
        let adding = conn.transaction(async |conn| {
            let known = accounts::find(conn, &id).await?.map(|account| account.name);
            let name = given.or(known).unwrap_or_else(|| id.to_string());
            accounts::put(conn, &id, &name).await?;
            match &ranges {
                Some(ranges) => allow(conn, "account add", &id, ranges).await.map(drop),
                None => database::QueryResult::Ok(()),
            }
        });
        adding.await?;
        show_in(&conn, context, &id).await
    }
}

impl Set {
    /// The one transaction: what is granted and that somebody did it.
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let (id, ranges) = (self.id, self.ranges.wanted().unwrap_or_default());
        let mut conn = context.postgres().await?;
        let is_there = conn.transaction(async |conn| allow(conn, "account set", &id, &ranges).await).await?;
        ensure!(is_there, unknown(&id));
        show_in(&conn, context, &id).await
    }
}

/// Says whether there is such an account.
async fn allow(
    conn: &AsyncPgConnection,
    action: &str,
    id: &AccountId,
    ranges: &Granted,
) -> database::QueryResult<bool> {
    let (texts, actor) = (ranges.to_texts(), actor());
    let is_there = accounts::allow_private(conn, id, &texts).await?;
    if is_there {
        let detail = format!("allow private: {}", if texts.is_empty() { "none".to_owned() } else { texts.join(",") });
        let deed = audit_log::Deed { actor: &actor, action, target: id.as_str(), detail: &detail };
        audit_log::record(conn, &deed).await?;
    }
    Ok(is_there)
}

async fn show(context: &mut Context<'_>, id: &AccountId) -> anyhow::Result<()> {
    show_in(&*context.postgres().await?, context, id).await
}

async fn show_in(conn: &AsyncPgConnection, context: &mut Context<'_>, id: &AccountId) -> anyhow::Result<()> {
    let account = accounts::find(conn, id).await?.with_context(|| unknown(id))?;
    context.out.object(&row(&account))
}

async fn list(context: &mut Context<'_>) -> anyhow::Result<()> {
    let accounts = accounts::list(&*context.postgres().await?).await?;
    let columns = ["id", "name", "allowed_private", "created_at"];
    context.out.list(&columns, &accounts.iter().map(row).collect::<Vec<_>>())
}

fn row(account: &accounts::Account) -> Value {
    json!({
        "id": account.id, "name": account.name, "allowed_private": account.allowed_private,
        "created_at": account.created_at,
    })
}

/// Refuses an account that is not there, before anything is done under its name.
pub(super) async fn must_exist(conn: &AsyncPgConnection, id: &AccountId) -> anyhow::Result<()> {
    let is_there = accounts::find(conn, id).await?.is_some();
    ensure!(is_there, "there is no account {id}: add it (latchhook account add --id {id})");
    Ok(())
}

fn unknown(id: &AccountId) -> String {
    format!("there is no account {id}: latchhook account list names them")
}
