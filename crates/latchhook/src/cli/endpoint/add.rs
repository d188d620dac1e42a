//! `latchhook endpoint add`.

use anyhow::{Context as _, anyhow, ensure};
use clap::Args;
use database::{AsyncPgConnection, accounts, endpoints};
use diesel_async::AsyncConnection;
use dispatcher::{Granted, Guard};
use serde_json::json;
use vocabulary::{AccountId, EndpointId, MasterKey};

use super::{
    super::{
        account,
        context::{Context, fresh_id},
        secret::NewSecret,
    },
    access::{Wanted, WantedAccess},
    terms::WantedTerms,
};

/// What an endpoint is made of.
#[derive(Debug, Args)]
pub(in super::super) struct Add {
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
    #[command(flatten)]
    secret: NewSecret,
    /// Its name in other commands; a random one if not given
    #[arg(long, value_name = "I")]
    id: Option<EndpointId>,
}

impl Add {
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let (mut conn, master) = (context.postgres().await?, context.master_key()?);
        let id = self.id.map_or_else(fresh_id, Ok)?;
        account::must_exist(&conn, &self.account).await?;
        must_be_same(&conn, &id, &self.account).await?;
        must_be_allowed(&conn, &self.account, &self.url, context).await?;
        let terms = self.terms.read(&conn, &self.account).await?;
        let there = endpoints::target(&conn, &id).await?;
        let access = self.access.read(&id, &self.url, there.as_ref(), &master)?;
        let wants_secret = self.secret.is_asked_for();
        let secret = self.secret.read()?;
        let new = endpoints::NewEndpoint {
            id: &id,
            account_id: &self.account,
            url: &self.url,
            secrets: std::slice::from_ref(&secret.text),
            terms: &terms,
        };
        let is_new = put(&mut conn, &master, &new, &access).await?;
        if wants_secret && !is_new {
            context
                .note(&format!("{id} was there already, and its secrets stay: latchhook endpoint rotate changes them"));
        }
        context.out.object(&json!({
            "id": id, "account_id": self.account, "url": self.url, "event_types": terms.event_types,
            "access": access.shown(),
            "secret": secret.printed().filter(|_| is_new),
            "public_key": secret.public_key.filter(|_| is_new).map(|key| key.to_string()),
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
