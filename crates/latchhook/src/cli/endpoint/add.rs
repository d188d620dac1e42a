//! `latchhook endpoint add`.

use anyhow::ensure;
use clap::Args;
use database::{
    AsyncPgConnection, audit_log, due,
    endpoints::{self, EndpointRow, NewEndpoint, Target},
};
use diesel_async::AsyncConnection;
use serde_json::json;
use vocabulary::{AccountId, EndpointId, Format, MasterKey, Terms};

use super::{
    super::{
        account,
        context::{Context, actor, fresh_id},
        secret::NewSecret,
    },
    access::{GivenAccess, WantedAccess},
    must_be_allowed,
    show::print,
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
        must_be_allowed(&conn, &self.account, &self.url, context).await?;
        let terms = self.terms.read(&conn, &self.account).await?;
        let access = self.access.read(context)?;
        let wants_secret = self.secret.is_asked_for();
        let secret = self.secret.read()?;
        let new = NewEndpoint {
            id: &id,
            account_id: &self.account,
            url: &self.url,
            secrets: std::slice::from_ref(&secret.text),
            terms: &terms,
        };
        let before = put(&mut conn, &master, &new, &access).await?;
        if let Some((before, there)) = &before {
            if there.url != self.url {
                due::catch_up(&conn, &id).await?;
            }
            let mut lost = taken_away(before, &terms);
            lost.extend(access.taken_away(&id, there));
            note_what_was_there(context, &id, wants_secret, &lost);
        }
        let secret = if before.is_none() { (secret.printed(), secret.public_key) } else { (None, None) };
        let printed = [("secret", json!(secret.0)), ("public_key", json!(secret.1.map(|key| key.to_string())))];
        print(context, &conn, &id, &printed).await
    }
}

/// The one transaction, so that nothing is sent to a new endpoint without its access. Gives what was there before.
async fn put(
    conn: &mut AsyncPgConnection,
    master: &MasterKey,
    new: &NewEndpoint<'_>,
    access: &GivenAccess,
) -> anyhow::Result<Option<(EndpointRow, Target)>> {
    let actor = actor();
    let putting = conn.transaction(async |conn| {
        let before = endpoints::hold(conn, new.id).await?;
        must_be_same(before.as_ref().map(|(row, _)| row), new)?;
        let is_new = endpoints::put(conn, master, new).await?;
        ensure!(is_new == before.is_none(), "somebody else adds {} at this very moment: repeat it", new.id);
        access.put(conn, new.id, new.url, before.as_ref().map(|(_, there)| there)).await?;
        let detail = if is_new { "new" } else { "given anew" };
        let deed = audit_log::Deed { actor: &actor, action: "endpoint add", target: new.id.as_str(), detail };
        audit_log::record(conn, &deed).await?;
        Ok(before)
    });
    putting.await
}

/// Nothing crosses accounts: an endpoint stays with its own.
fn must_be_same(there: Option<&EndpointRow>, new: &NewEndpoint<'_>) -> anyhow::Result<()> {
    if let Some(owner) = there.map(|there| &there.account_id) {
        ensure!(
            owner == new.account_id.as_str(),
            "there is an endpoint {} already, of account {owner}: choose another --id",
            new.id
        );
    }
    Ok(())
}

fn note_what_was_there(context: &Context<'_>, id: &EndpointId, wants_secret: bool, lost: &[String]) {
    if wants_secret {
        context.note(&format!("{id} was there already, and its secrets stay: latchhook endpoint rotate changes them"));
    }
    context.note_lost(id.as_str(), lost, "latchhook endpoint set changes a term and keeps the rest");
}

/// The terms that an endpoint had, and has no longer.
fn taken_away(before: &EndpointRow, terms: &Terms) -> Vec<String> {
    let was_thin = before.format == Format::Thin.as_str();
    let terms = [
        ("sources", before.source_ids.is_some() && terms.sources.is_none()),
        ("filter", before.filter.is_some() && terms.filter.is_none()),
        ("format thin", was_thin && terms.format == Format::Full),
        ("schedule", before.schedule_s.is_some() && terms.schedule.is_none()),
        ("give-up-on", before.give_up_on.is_some() && terms.give_up_on.is_none()),
        ("max-in-flight", before.max_in_flight.is_some() && terms.max_in_flight.is_none()),
        ("max-per-second", before.max_per_second.is_some() && terms.max_per_second.is_none()),
        ("ordered-by", before.ordered_by.is_some() && terms.ordered_by.is_none()),
    ];
    terms.into_iter().filter(|(_, is_lost)| *is_lost).map(|(name, _)| name.to_owned()).collect()
}
