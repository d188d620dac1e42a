//! `latchhook endpoint show` and `list`: what stands of an endpoint, and what follows from it.

use anyhow::Context as _;
use clap::Args;
use database::{
    AsyncPgConnection, due,
    endpoints::{self, EndpointRow},
};
use serde_json::{Value, json};
use vocabulary::{EndpointId, GiveUpOn};

use super::{
    super::{
        context::Context,
        schedule::{FleetSchedule, preview, readable},
    },
    access, secrets,
    standing::Standing,
    unknown,
};

/// Which endpoint, and what the fleet is told.
#[derive(Debug, Args)]
pub(in super::super) struct Show {
    /// Which endpoint
    id: EndpointId,
    #[command(flatten)]
    schedule: FleetSchedule,
}

impl Show {
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let (id, conn) = (&self.id, context.postgres().await?);
        let row = endpoints::find(&conn, id).await?.with_context(|| unknown(id))?;
        let owed = due::owed_to(&conn, id.as_str()).await?;
        let mut endpoint = described(&conn, context, id, &row).await?;
        endpoint["pending"] = json!(owed.deliveries());
        // What a disabled one is owed is held, whenever it was to be tried.
        endpoint["next_due_at"] = json!(owed.next_due_at.filter(|_| row.enabled));
        endpoint["secrets"] = secrets::shown(&conn, context, id).await?;
        Standing::read(&conn, id).await?.show(&mut endpoint, context);
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

/// All of them, without their secrets.
pub(super) async fn list(context: &mut Context<'_>) -> anyhow::Result<()> {
    let endpoints = endpoints::list(&*context.postgres().await?).await?;
    let columns = ["id", "account_id", "url", "event_types", "enabled", "disabled_reason"];
    context.out.list(&columns, &endpoints.iter().map(shown).collect::<Vec<_>>())
}

/// What a command has made of one: all that stands of it, and what else it says.
pub(super) async fn print(
    context: &mut Context<'_>,
    conn: &AsyncPgConnection,
    id: &EndpointId,
    more: &[(&str, Value)],
) -> anyhow::Result<()> {
    let row = endpoints::find(conn, id).await?.with_context(|| unknown(id))?;
    let mut endpoint = described(conn, context, id, &row).await?;
    for (name, value) in more {
        endpoint[*name] = value.clone();
    }
    context.out.object(&endpoint)
}

/// What stands of one, with what its requests carry; for people in their words.
async fn described(
    conn: &AsyncPgConnection,
    context: &Context<'_>,
    id: &EndpointId,
    row: &EndpointRow,
) -> anyhow::Result<Value> {
    let target = endpoints::target(conn, id).await?.with_context(|| unknown(id))?;
    let mut endpoint = shown(row);
    endpoint["access"] = access::shown(id, target.access.as_deref(), context.master_key());
    if !context.out.is_json() {
        if row.schedule_s.as_ref().is_some_and(Vec::is_empty) {
            endpoint["schedule_s"] = json!("none");
        }
        let statuses = row.give_up_on.iter().flatten().map(|status| status.unsigned_abs());
        endpoint["give_up_on"] = json!(GiveUpOn::of(statuses).ok().map(|given| given.to_string()));
    }
    Ok(endpoint)
}

/// Its row, without its secrets.
fn shown(endpoint: &EndpointRow) -> Value {
    json!({
        "id": endpoint.id, "account_id": endpoint.account_id, "url": endpoint.url,
        "event_types": endpoint.event_types, "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason, "created_at": endpoint.created_at,
        "source_ids": endpoint.source_ids, "filter": endpoint.filter.as_deref().map(json_or_text),
        "format": endpoint.format, "schedule_s": endpoint.schedule_s,
        "give_up_on": endpoint.give_up_on,
        "max_in_flight": endpoint.max_in_flight, "max_per_second": endpoint.max_per_second,
        "ordered_by": endpoint.ordered_by,
    })
}

/// What no parser of ours takes (a row that somebody else wrote, a number beyond all measure) is shown as it stands.
fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}
