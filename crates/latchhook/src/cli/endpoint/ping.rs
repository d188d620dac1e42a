//! `latchhook endpoint ping`: a signed test event, right now, and what came of it.

use anyhow::{Context as _, ensure};
use clap::Args;
use database::{attempts::Recorded, endpoints};
use dispatcher::{Client, Guard};
use serde_json::{Value, json};
use vocabulary::EndpointId;

use super::unknown;
use crate::cli::{context::Context, tuning::RequestDeadline};

/// Which endpoint, and what the fleet is told.
#[derive(Debug, Args)]
pub(in super::super) struct Ping {
    /// Which endpoint
    id: EndpointId,
    #[command(flatten)]
    deadline: RequestDeadline,
}

impl Ping {
    /// Sends it as a delivery would be sent, and records nothing. Fails where it is not answered with 2xx.
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let (id, master) = (&self.id, context.master_key()?);
        let target = endpoints::target(&*context.postgres().await?, id).await?.with_context(|| unknown(id))?;
        let client = Client::new(Guard::new(context.settings.allow_private_endpoints.clone().unwrap_or_default()));
        let ping = dispatcher::Ping { client, master, deadline: self.deadline.request_deadline };
        let attempt = ping.send(id, target, context.now).await;
        context.out.object(&shown(id, &attempt))?;
        let outcome = attempt.outcome;
        let detail = attempt.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
        // Nobody was asked, so it is not the endpoint that did not take it.
        ensure!(!matches!(outcome, "secret" | "access" | "guard"), "nothing was sent to {id}: {outcome}{detail}");
        ensure!(outcome == "delivered", "{id} did not take the ping: {outcome}");
        Ok(())
    }
}

fn shown(id: &EndpointId, attempt: &Recorded) -> Value {
    let head = attempt.response_head.as_ref().map(|head| String::from_utf8_lossy(head).into_owned());
    let us = |part: Option<std::time::Duration>| part.map(|part| part.as_micros());
    json!({
        "endpoint_id": id, "webhook_id": attempt.webhook_id, "outcome": attempt.outcome,
        "http_status": attempt.http_status, "detail": attempt.detail, "duration_us": attempt.duration.as_micros(),
        "dns_us": us(attempt.split.dns), "connect_us": us(attempt.split.connect), "tls_us": us(attempt.split.tls),
        "first_byte_us": us(attempt.split.first_byte), "response_head": head,
    })
}
