//! `latchhook endpoint`: where deliveries go.

mod filter;
mod rotate;
mod secrets;
mod terms;
mod test_filter;

use anyhow::{Context as _, anyhow, ensure};
use clap::{Args, Subcommand};
use database::{AsyncPgConnection, endpoints, gates, listing};
use diesel_async::AsyncConnection;
use dispatcher::Guard;
use serde_json::{Value, json};
use vocabulary::{AccountId, EndpointId};

pub(super) use self::terms::rate;
use self::{terms::WantedTerms, test_filter::TestFilter};
use super::{
    account,
    context::{Context, fresh_id},
    schedule::{FleetSchedule, preview, readable},
    secret::NewSecret,
};

/// Customers' URLs: where deliveries go
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add one, or give the one of that id this URL and these terms
    Add(Add),
    /// List them, without their secrets
    List,
    /// Show one, what it is owed, and when a delivery to it would be given up
    Show(Show),
    /// Send to it again, what was held first
    Enable(Which),
    /// Hold what it is owed
    Disable(Disable),
    /// Give it a new secret; the others go on signing beside it for a while
    Rotate(rotate::Rotate),
    /// Say of each body whether a filter wants it, and why; status 1 if it does not want one of them
    TestFilter(TestFilter),
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
    secret: NewSecret,
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

/// Which endpoint, and what the fleet is told.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// Which endpoint
    id: EndpointId,
    #[command(flatten)]
    schedule: FleetSchedule,
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
        Command::Enable(Which { id }) => enable(context, &id).await,
        Command::Disable(Disable { id, reason }) => disable(context, &id, &reason).await,
        Command::Rotate(rotate) => rotate.run(context).await,
        Command::TestFilter(test) => test.run(context).await,
        Command::Show(show) => show.run(context).await,
    }
}

impl Add {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let (conn, master) = (context.postgres().await?, context.master_key()?);
        let id = self.id.map_or_else(fresh_id, Ok)?;
        account::must_exist(&conn, &self.account).await?;
        must_be_same(&conn, &id, &self.account).await?;
        must_be_allowed(&self.url, context).await?;
        let terms = self.terms.read(&conn, &self.account).await?;
        let wants_secret = self.secret.is_asked_for();
        let secret = self.secret.read()?;
        let new = endpoints::NewEndpoint {
            id: &id,
            account_id: &self.account,
            url: &self.url,
            secrets: std::slice::from_ref(&secret.text),
            terms: &terms,
        };
        let is_new = endpoints::put(&conn, &master, &new).await?;
        if wants_secret && !is_new {
            context
                .note(&format!("{id} was there already, and its secrets stay: latchhook endpoint rotate changes them"));
        }
        context.out.object(&json!({
            "id": id, "account_id": self.account, "url": self.url, "event_types": terms.event_types,
            "secret": secret.printed().filter(|_| is_new),
            "public_key": secret.public_key.filter(|_| is_new).map(|key| key.to_string()),
        }))
    }
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
        "source_ids": endpoint.source_ids, "filter": endpoint.filter.as_deref().map(json_or_text),
        "format": endpoint.format, "schedule_s": endpoint.schedule_s,
        "max_in_flight": endpoint.max_in_flight, "max_per_second": endpoint.max_per_second,
        "ordered_by": endpoint.ordered_by,
    })
}

/// What no parser of ours takes (a row that somebody else wrote, a number beyond all measure) is shown as it stands.
fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

async fn list(context: &mut Context<'_>) -> anyhow::Result<()> {
    let endpoints = endpoints::list(&*context.postgres().await?).await?;
    let columns = ["id", "account_id", "url", "event_types", "enabled", "disabled_reason"];
    context.out.list(&columns, &endpoints.iter().map(shown).collect::<Vec<_>>())
}

impl Show {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let (id, conn) = (&self.id, context.postgres().await?);
        let all = endpoints::list(&conn).await?;
        let row = all.iter().find(|endpoint| endpoint.id == id.as_str()).with_context(|| unknown(id))?;
        let (pending, next_due_at) = listing::owed_to(&conn, id.as_str()).await?;
        let mut endpoint = shown(row);
        endpoint["pending"] = json!(pending);
        endpoint["next_due_at"] = json!(next_due_at);
        endpoint["gate"] = json!(gates::of(&conn, id).await?);
        endpoint["secrets"] = secrets::shown(&conn, context, id).await?;
        self.show_with_preview(endpoint, row.schedule_s.as_deref(), context)
    }

    fn show_with_preview(
        &self,
        mut endpoint: Value,
        own: Option<&[i32]>,
        context: &mut Context<'_>,
    ) -> anyhow::Result<()> {
        let schedule = self.schedule.of(own);
        let (attempts, gives_up_after) = (preview(&schedule), schedule.left(0));
        if context.out.is_json() {
            endpoint["attempts"] = json!(attempts);
            endpoint["gives_up_after_s"] = json!(gives_up_after.at_least.as_secs_f64());
            endpoint["gives_up_after_at_most_s"] = json!(gives_up_after.at_most.as_secs_f64());
            return context.out.json(&endpoint);
        }
        let (after, at_most) = (readable(gives_up_after.at_least), readable(gives_up_after.at_most));
        endpoint["gives_up_after"] = json!(format!("{after}; with jitter {at_most} at most"));
        context.out.object(&endpoint)?;
        context.out.text(
            "\nattempts of a delivery, if each fails; requests take their time besides, and so does Retry-After",
        )?;
        let rows: Vec<_> = attempts.iter().map(|attempt| attempt.row()).collect();
        context.out.list(&["attempt", "after", "with_jitter_at_most"], &rows)
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
