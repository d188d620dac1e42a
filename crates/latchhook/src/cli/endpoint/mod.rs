//! `latchhook endpoint`: where deliveries go.

mod access;
mod ping;
mod terms;

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::{Args, Subcommand};
use database::{AsyncPgConnection, endpoints, listing};
use diesel_async::AsyncConnection;
use dispatcher::{Guard, signing::SigningSecret};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use vocabulary::{AccountId, EndpointId, MasterKey};

use self::{
    access::{Wanted, WantedAccess},
    terms::WantedTerms,
};
use super::{
    account,
    context::{Context, fresh_id},
};

/// Customers' URLs: where deliveries go
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add one, or give the one of that id this URL and these terms
    Add(Box<Add>),
    /// List them, without their secrets
    List,
    /// Show one, and what it is owed
    Show(Which),
    /// Send to it again, what was held first
    Enable(Which),
    /// Hold what it is owed
    Disable(Disable),
    /// Send it a signed test event now, and say what came of it; status 1 if that is no 2xx
    Ping(Which),
}

/// What an endpoint is made of.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// Who owns it
    #[arg(long, value_name = "A")]
    account: AccountId,
    /// Where to POST
    #[arg(long, value_name = "U")]
    url: String,
    #[command(flatten)]
    terms: WantedTerms,
    #[command(flatten)]
    access: WantedAccess,
    /// Its name in other commands; a random one if not given
    #[arg(long, value_name = "I")]
    id: Option<EndpointId>,
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
        Command::List => list(context).await,
        Command::Show(Which { id }) => show(context, &id).await,
        Command::Enable(Which { id }) => set_disabled(context, &id, None).await,
        Command::Disable(Disable { id, reason }) => set_disabled(context, &id, Some(&reason)).await,
        Command::Ping(Which { id }) => ping::run(context, &id).await,
    }
}

impl Add {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let (mut conn, master) = (context.postgres().await?, context.master_key()?);
        let id = self.id.map_or_else(fresh_id, Ok)?;
        account::must_exist(&conn, &self.account).await?;
        must_be_same(&conn, &id, &self.account).await?;
        must_be_allowed(&self.url, context).await?;
        let terms = self.terms.read(&conn, &self.account).await?;
        let there = endpoints::target(&conn, &id).await?;
        let access = self.access.read(&id, &self.url, there.as_ref(), &master)?;
        let secret = SigningSecret::generate();
        let new = endpoints::NewEndpoint {
            id: &id,
            account_id: &self.account,
            url: &self.url,
            secrets: std::slice::from_ref(&secret),
            terms: &terms,
        };
        let is_new = put(&mut conn, &master, &new, &access).await?;
        let secret = is_new.then(|| secret.expose_secret().to_owned());
        context.out.object(&json!({
            "id": id, "account_id": self.account, "url": self.url, "event_types": terms.event_types,
            "access": access.shown(), "secret": secret,
        }))
    }
}

/// The one transaction, so that nothing is sent to a new endpoint without its access. Says whether it is new.
async fn put(
    conn: &mut AsyncPgConnection,
    master: &MasterKey,
    new: &endpoints::NewEndpoint<'_>,
    access: &Wanted,
) -> anyhow::Result<bool> {
    let put = conn.transaction(async |conn| {
        let is_new = endpoints::put(conn, master, new).await?;
        if let Wanted::Given(access) = access {
            let json = (!access.is_empty()).then(|| access.to_json());
            endpoints::set_access(conn, master, new.id, json.as_ref()).await?;
        }
        database::QueryResult::Ok(is_new)
    });
    Ok(put.await?)
}

/// The reason is not for a customer's eyes, but an operator is who types this.
async fn must_be_allowed(url: &str, context: &Context<'_>) -> anyhow::Result<()> {
    let guard = Guard::new(context.settings.allow_private_endpoints.clone().unwrap_or_default());
    guard.check_url(url).await.map_err(|refused| anyhow!("{refused}: {}", refused.detail()))
}

/// Nothing crosses accounts: an endpoint stays with its own.
async fn must_be_same(conn: &AsyncPgConnection, id: &EndpointId, account: &AccountId) -> anyhow::Result<()> {
    let there = endpoints::list(conn).await?.into_iter().find(|endpoint| endpoint.id == id.as_str());
    if let Some(owner) = there.map(|there| there.account_id) {
        ensure!(
            owner == account.as_str(),
            "there is an endpoint {id} already, of account {owner}: choose another --id"
        );
    }
    Ok(())
}

fn shown(endpoint: &endpoints::EndpointRow) -> Value {
    json!({
        "id": endpoint.id, "account_id": endpoint.account_id, "url": endpoint.url,
        "event_types": endpoint.event_types, "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason, "created_at": endpoint.created_at,
        "source_ids": endpoint.source_ids, "format": endpoint.format, "schedule_s": endpoint.schedule_s,
        "max_in_flight": endpoint.max_in_flight, "max_per_second": endpoint.max_per_second,
        "ordered_by": endpoint.ordered_by,
    })
}

async fn list(context: &mut Context<'_>) -> anyhow::Result<()> {
    let endpoints = endpoints::list(&*context.postgres().await?).await?;
    let columns = ["id", "account_id", "url", "event_types", "enabled", "disabled_reason"];
    context.out.list(&columns, &endpoints.iter().map(shown).collect::<Vec<_>>())
}

async fn show(context: &mut Context<'_>, id: &EndpointId) -> anyhow::Result<()> {
    let conn = context.postgres().await?;
    let all = endpoints::list(&conn).await?;
    let endpoint = all.iter().find(|endpoint| endpoint.id == id.as_str()).with_context(|| unknown(id))?;
    let (pending, next_due_at) = listing::owed_to(&conn, id.as_str()).await?;
    let mut endpoint = shown(endpoint);
    let target = endpoints::target(&conn, id).await?.with_context(|| unknown(id))?;
    endpoint["access"] = access::shown(id, target.access.as_deref(), context.master_key());
    endpoint["pending"] = json!(pending);
    endpoint["next_due_at"] = json!(next_due_at);
    context.out.object(&endpoint)
}

async fn set_disabled(context: &mut Context<'_>, id: &EndpointId, reason: Option<&str>) -> anyhow::Result<()> {
    if !endpoints::set_disabled(&*context.postgres().await?, id, reason).await? {
        bail!(unknown(id));
    }
    context.out.object(&json!({"id": id, "enabled": reason.is_none(), "disabled_reason": reason}))
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
