//! `latchhook events`: the ledger, one event's whole story, and delivering an event once more.

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use database::{AsyncPgConnection, bodies, deliveries, events, listing};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;
use vocabulary::{EndpointId, Format, SourceId};

use super::{
    context::Context,
    deliveries::{make_due, waiting},
    schedule::{FleetSchedule, Foreseen},
    since::Since,
};

/// What is shown of each, to people.
const COLUMNS: [&str; 7] = ["id", "source_id", "sequence", "kind", "key", "deliveries_owed", "received_at"];

/// The ledger: every event that was recorded
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List them, the newest first
    List(List),
    /// Tell the whole story of one
    Show(Show),
    /// Deliver one again, under the same webhook ids
    Replay(Replay),
}

/// Which events, and how many of them.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those of this source
    #[arg(long, value_name = "ID")]
    source: Option<SourceId>,
    /// Only those of this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only the one with this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only those received since (2026-11-23T20:00:00Z, or 15m, 6h, 2d ago)
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

/// Which event, and what the fleet is told.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    schedule: FleetSchedule,
}

/// Which event.
#[derive(Debug, Args)]
struct Which {
    /// Its id, or its key
    event: String,
    /// The source, where two have that key
    #[arg(long, value_name = "ID")]
    source: Option<SourceId>,
}

/// Which event, and to whom.
#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    which: Which,
    /// Only to this endpoint
    #[arg(long, value_name = "ID")]
    endpoint: Option<EndpointId>,
    /// Only say to whom
    #[arg(long)]
    dry_run: bool,
}

/// Runs it.
pub(super) async fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::List(list) => list.run(context).await,
        Command::Show(show) => show.run(context).await,
        Command::Replay(replay) => replay.run(context).await,
    }
}

impl List {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let wanted = events::Wanted {
            source_id: self.source.as_ref().map(SourceId::as_str),
            kind: self.kind.as_deref(),
            key: self.key.as_deref(),
            since: self.since.map(|since| since.as_of(context.now)),
        };
        let rows = events::list(&*context.postgres().await?, &wanted, self.limit.into()).await?;
        context.out.list(&COLUMNS, &rows)
    }
}

impl Which {
    async fn find(&self, conn: &AsyncPgConnection) -> anyhow::Result<events::EventRow> {
        let by_id = match self.event.parse() {
            Ok(id) => events::find(conn, id).await?,
            Err(_) => None,
        };
        if let Some(event) = by_id {
            return Ok(event);
        }
        let source_id = self.source.as_ref().map(SourceId::as_str);
        let wanted = events::Wanted { source_id, key: Some(&self.event), ..events::Wanted::default() };
        let mut found = events::list(conn, &wanted, 2).await?;
        match (found.pop(), found.pop()) {
            (Some(_), Some(_)) => bail!("several sources have an event {}: say which by --source", self.event),
            (event, _) => event.with_context(|| format!("no event has the id or the key {}", self.event)),
        }
    }
}

impl Show {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let conn = context.postgres().await?;
        let story = Story::of(&conn, self.which.find(&conn).await?, &self.schedule).await?;
        if context.out.is_json() {
            return context.out.json(&story);
        }
        context.out.object(&story.event)?;
        if let Some(message) = &story.message {
            context.out.text("\nits message, as it stands")?;
            context.out.object(message)?;
        }
        context.out.text("\nwhat happened")?;
        context.out.list(&["at", "what"], &story.timeline)
    }
}

impl Replay {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let conn = context.postgres().await?;
        let event = self.which.find(&conn).await?;
        let endpoint_id = self.endpoint.as_ref().map(ToString::to_string);
        let wanted = deliveries::Wanted { event_id: Some(event.id), endpoint_id, ..deliveries::Wanted::default() };
        let rows = deliveries::find(&conn, &wanted).await?;
        ensure!(!rows.is_empty(), "event {} owes nothing there: no endpoint wanted it when it was recorded", event.id);
        if self.dry_run {
            context.note(&format!("would make {} deliveries due", rows.len()));
            return context.out.list(&["webhook_id", "endpoint_id", "state", "held", "attempts"], &rows);
        }
        let every = ["pending", "delivered", "abandoned"];
        let made_due = make_due(context, "events replay", &rows, &every).await?;
        waiting::say_what_waits(context, rows.len(), &made_due);
        let mut said = json!({"event_id": event.id, "wanted": rows.len()});
        waiting::show(&mut said, context, &made_due);
        context.out.object(&said)
    }
}

/// Everything that is known of one event.
#[derive(Debug, Serialize)]
struct Story {
    #[serde(flatten)]
    event: events::EventRow,
    raw_event: String,
    receipt: Option<listing::ReceiptRow>,
    message: Option<listing::MessageState>,
    /// What customers are told, as JSON if it is that.
    body: Option<Value>,
    /// Likewise, those who want ids only; `None` where nobody did.
    thin_body: Option<Value>,
    deliveries: Vec<Foreseen>,
    attempts: Vec<listing::AttemptRow>,
    timeline: Vec<Moment>,
}

#[derive(Debug, Serialize)]
struct Moment {
    at: DateTime<Utc>,
    what: String,
}

async fn body_of(conn: &AsyncPgConnection, event_id: Uuid, format: Format) -> anyhow::Result<Option<Value>> {
    Ok(bodies::find(conn, event_id, format.as_str()).await?.and_then(|body| serde_json::from_slice(&body).ok()))
}

impl Story {
    async fn of(conn: &AsyncPgConnection, event: events::EventRow, schedule: &FleetSchedule) -> anyhow::Result<Self> {
        let body = body_of(conn, event.id, Format::Full).await?;
        let named = body.as_ref().and_then(|body| body.pointer("/data/message/id")?.as_str()?.parse::<Uuid>().ok());
        let wanted = deliveries::Wanted { event_id: Some(event.id), ..deliveries::Wanted::default() };
        let deliveries = deliveries::find(conn, &wanted).await?;
        let story = Self {
            raw_event: format!("{}-{}", event.incarnation, event.number),
            receipt: listing::receipt_of(conn, &event).await?,
            message: listing::message_of(conn, &event, named).await?,
            deliveries: deliveries.into_iter().map(|row| schedule.foresee(row)).collect(),
            attempts: listing::attempts_of(conn, event.id).await?,
            timeline: Vec::new(),
            thin_body: body_of(conn, event.id, Format::Thin).await?,
            body,
            event,
        };
        let mut timeline = story.inbound();
        timeline.extend(story.deliveries.iter().flat_map(Moment::of_delivery));
        timeline.extend(story.attempts.iter().map(Moment::of_attempt));
        timeline.sort_by_key(|moment| moment.at);
        Ok(Self { timeline, ..story })
    }

    fn inbound(&self) -> Vec<Moment> {
        let happened = self.event.occurred_at.map(|at| Moment { at, what: "happened, says the provider".to_owned() });
        let received = Moment { at: self.event.received_at, what: format!("received in raw event {}", self.raw_event) };
        let ended =
            self.receipt.as_ref().and_then(|receipt| Some((receipt, receipt.ended_at?))).map(|(receipt, at)| {
                let (items, committed, quarantined) = (receipt.items, receipt.committed, receipt.quarantined);
                Moment {
                    at,
                    what: format!(
                        "its raw event ended: {items} items, {committed} committed, {quarantined} quarantined"
                    ),
                }
            });
        happened.into_iter().chain([received]).chain(ended).collect()
    }
}

impl Moment {
    fn of_delivery(Foreseen { row: delivery, gives_up_at }: &Foreseen) -> Vec<Self> {
        let (endpoint, id) = (&delivery.endpoint_id, &delivery.webhook_id);
        let behind = delivery.behind.as_ref().map(|head| format!("; waits in its lane behind {head}"));
        let what = format!("recorded, and owed to {endpoint} as {id}, with the {} body", delivery.format);
        let owed = Self { at: delivery.created_at, what: what + &behind.unwrap_or_default() };
        let why = match (&delivery.abandoned_reason, delivery.state.as_str()) {
            (Some(reason), "abandoned") => format!(", on purpose: {reason}"),
            (Some(reason), _) => format!(", though it had been given up on purpose: {reason}"),
            (None, _) => String::new(),
        };
        let ended = delivery.finished_at.map(|at| Self { at, what: format!("{} for {endpoint}{why}", delivery.state) });
        let next = delivery.due_at.map(|at| {
            let what = match (delivery.held, delivery.lease) {
                (true, _) => format!("held: {endpoint} is disabled"),
                (_, Some(lease)) => format!("lease {lease} on it for {endpoint} ends"),
                _ => format!("due for {endpoint}"),
            };
            Self { at, what }
        });
        let gate = delivery.rests_until.zip(delivery.gate);
        let opens = gate
            .map(|(at, gate)| Self { at, what: format!("the gate at which it rests for {endpoint} opens ({gate})") });
        let what = format!("given up for {endpoint}, at the latest, if every attempt fails");
        let given_up = gives_up_at.map(|at| Self { at, what });
        [Some(owed), ended, next, opens, given_up].into_iter().flatten().collect()
    }

    fn of_attempt(attempt: &listing::AttemptRow) -> Self {
        let status = attempt.http_status.map(|status| format!(" {status}")).unwrap_or_default();
        let detail = attempt.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
        let (endpoint, outcome, ms) = (&attempt.endpoint_id, &attempt.outcome, attempt.duration_us / 1_000);
        let parts = parts_of(attempt);
        Self {
            at: attempt.started_at,
            what: format!("attempt to {endpoint}: {outcome}{status} in {ms} ms{parts}{detail}"),
        }
    }
}

/// Where the time of an attempt went.
fn parts_of(attempt: &listing::AttemptRow) -> String {
    let parts = [
        ("DNS", attempt.dns_us),
        ("connect", attempt.connect_us),
        ("TLS", attempt.tls_us),
        ("first byte", attempt.first_byte_us),
    ];
    let known = parts.iter().filter_map(|(name, us)| Some(format!(", {name} {:.1}", f64::from((*us)?) / 1_000.0)));
    known.collect()
}
