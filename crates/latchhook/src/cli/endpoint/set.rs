//! `latchhook endpoint set`: what is given of an endpoint changes, and what is not named stays.

use anyhow::{Context as _, ensure};
use clap::Args;
use database::{
    AsyncPgConnection, audit_log, due,
    endpoints::{self, Change},
};
use diesel_async::AsyncConnection;
use vocabulary::EndpointId;

use super::{
    super::context::{Context, actor},
    access::{ChangedAccess, GivenAccess},
    must_be_allowed,
    show::print,
    terms::ChangedTerms,
    unknown,
};

/// Which endpoint, and what changes.
#[derive(Debug, Args)]
pub(in super::super) struct Set {
    /// Which endpoint
    id: EndpointId,
    /// Where to POST, what it is owed already too
    #[arg(long, value_name = "U")]
    url: Option<String>,
    #[command(flatten)]
    terms: ChangedTerms,
    #[command(flatten)]
    access: ChangedAccess,
}

impl Set {
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let (id, mut conn) = (&self.id, context.postgres().await?);
        let there = endpoints::find(&conn, id).await?.with_context(|| unknown(id))?;
        let account = there.account_id.parse()?;
        if let Some(url) = &self.url {
            must_be_allowed(&conn, &account, url, context).await?;
        }
        let terms = self.terms.read(&conn, &account).await?;
        let change = Change { url: self.url, ..terms };
        let access = self.access.read(context)?;
        let names: Vec<_> = change.names().into_iter().chain(access.names()).collect();
        ensure!(!names.is_empty(), "nothing of {id} changes: give a term, as --max-in-flight 2 or --no-filter");
        if set(&mut conn, id, &change, &access, &names.join(", ")).await? {
            due::catch_up(&conn, id).await?;
        }
        print(context, &conn, id, &[]).await
    }
}

/// The one transaction: what requests carry is decided while nobody else can change where they go. Says whether the endpoint has moved.
async fn set(
    conn: &mut AsyncPgConnection,
    id: &EndpointId,
    change: &Change,
    access: &GivenAccess,
    detail: &str,
) -> anyhow::Result<bool> {
    let actor = actor();
    let deed = audit_log::Deed { actor: &actor, action: "endpoint set", target: id.as_str(), detail };
    let setting = conn.transaction(async |conn| {
        let (_, there) = endpoints::hold(conn, id).await?.with_context(|| unknown(id))?;
        let url = change.url.as_deref().unwrap_or(&there.url);
        access.put(conn, id, url, Some(&there)).await?;
        endpoints::set(conn, id, change).await?;
        audit_log::record(conn, &deed).await?;
        anyhow::Ok(there.url != url)
    });
    setting.await
}
