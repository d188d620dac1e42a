//! `latchhook endpoint show` and `list`: what stands of an endpoint, and what follows from it.

use anyhow::Context as _;
use clap::Args;
use database::{endpoints, gates, listing};
use dispatcher::Schedule;
use serde_json::{Value, json};
use vocabulary::EndpointId;

use super::{
    super::{
        context::Context,
        schedule::{FleetSchedule, preview, readable},
    },
    access, secrets, unknown,
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
        let all = endpoints::list(&conn).await?;
        let row = all.iter().find(|endpoint| endpoint.id == id.as_str()).with_context(|| unknown(id))?;
        let (pending, next_due_at) = listing::owed_to(&conn, id.as_str()).await?;
        let mut endpoint = shown(row);
        let target = endpoints::target(&conn, id).await?.with_context(|| unknown(id))?;
        endpoint["access"] = access::shown(id, target.access.as_deref(), context.master_key());
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
        if schedule == Schedule(Vec::new()) {
            endpoint["schedule_s"] = json!("none");
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
