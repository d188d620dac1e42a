//! `latchhook quarantine`: what could not be processed, kept whole.
//!
//! A replay is pushed to Redis first and noted in Postgres afterwards: if we die between the two, the row stays open and
//! the item is processed all the same. It cannot record anything twice, because the ledger decides as ever.

use anyhow::{Context as _, ensure};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use clap::{ArgGroup, Args, Subcommand};
use database::{AsyncPgConnection, audit_log, quarantine};
use diesel_async::AsyncConnection;
use queue::Inbound;
use serde::Serialize;
use serde_json::{Value, json};
use vocabulary::{JobEntry, RawEvent, SourceId};

mod groups;

use super::{
    context::{Context, actor},
    since::Since,
    source,
};

/// What is shown of each, to people.
const COLUMNS: [&str; 9] =
    ["id", "reason", "detail", "source_id", "incarnation", "number", "item", "created_at", "replayed_at"];

/// What could not be processed, kept whole
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List what is open, grouped by reason
    List(List),
    /// Show one with its whole raw event
    Show(Show),
    /// Process some again, by the same code as ever
    Replay(Replay),
    /// Give some up, for a reason that is kept
    Discard(Discard),
}

/// Which rows.
#[derive(Debug, Args)]
struct Filter {
    /// Only those of this group: a reason, as `list` shows it
    #[arg(long, value_name = "REASON")]
    group: Option<String>,
    /// Only those of this source
    #[arg(long, value_name = "ID")]
    source: Option<SourceId>,
    /// Only those rejected since (2026-11-23T20:00:00Z, or 15m, 6h, 2d ago)
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,
}

/// Which rows, by number or by what they are.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").args(["ids", "group", "source", "since", "all"]).required(true).multiple(true))]
struct Selection {
    /// By their numbers
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    #[command(flatten)]
    filter: Filter,
    /// Everything that is open
    #[arg(long)]
    all: bool,
    /// Only say which
    #[arg(long)]
    dry_run: bool,
}

/// Which rows to list, and how.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    filter: Filter,
    /// Each of them, not their groups
    #[arg(long)]
    each: bool,
    /// Those that were settled or discarded, too
    #[arg(long)]
    closed: bool,
}

/// Which row.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// Its number
    id: i64,
}

/// Which rows.
#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    selection: Selection,
}

/// Which rows, and why.
#[derive(Debug, Args)]
pub(super) struct Discard {
    #[command(flatten)]
    selection: Selection,
    /// Why they are given up: kept with them and in the audit log
    #[arg(long, value_name = "WHY")]
    reason: String,
}

/// Runs it.
pub(super) async fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::List(list) => list.run(context).await,
        Command::Show(show) => show.run(context).await,
        Command::Replay(replay) => replay.run(context).await,
        Command::Discard(discard) => discard.run(context).await,
    }
}

impl Filter {
    fn wanted<'a>(&'a self, context: &Context<'_>) -> quarantine::Wanted<'a> {
        quarantine::Wanted {
            reason: self.group.as_deref(),
            source_id: self.source.as_ref().map(SourceId::as_str),
            since: self.since.map(|since| since.as_of(context.now)),
            ..quarantine::Wanted::default()
        }
    }

    /// A misspelt name would match nothing, as if there were nothing to do. What was closed since is a match of a known
    /// one; so is what came from a source that was never added.
    async fn must_name_what_is_there(&self, conn: &AsyncPgConnection) -> anyhow::Result<()> {
        if let Some(reason) = self.group.as_deref() {
            let ever = quarantine::Wanted { reason: Some(reason), closed: true, ..quarantine::Wanted::default() };
            let is_there = !quarantine::list(conn, &ever).await?.is_empty();
            ensure!(is_there, "there is no group {reason}: latchhook quarantine list --closed names them");
        }
        match &self.source {
            Some(source) => source::must_exist(conn, source).await,
            None => Ok(()),
        }
    }

    /// What is wanted of it. Names are looked up only when nothing is found.
    async fn find(
        &self,
        conn: &AsyncPgConnection,
        wanted: &quarantine::Wanted<'_>,
    ) -> anyhow::Result<Vec<quarantine::QuarantinedRow>> {
        let rows = quarantine::list(conn, wanted).await?;
        if rows.is_empty() {
            self.must_name_what_is_there(conn).await?;
        }
        Ok(rows)
    }
}

impl Selection {
    async fn read(
        &self,
        conn: &AsyncPgConnection,
        context: &Context<'_>,
    ) -> anyhow::Result<Vec<quarantine::QuarantinedRow>> {
        let wanted = quarantine::Wanted { ids: &self.ids, ..self.filter.wanted(context) };
        let rows = self.filter.find(conn, &wanted).await?;
        let missing = self.ids.iter().find(|id| !rows.iter().any(|row| row.id == **id));
        match missing {
            Some(id) => Err(anyhow::anyhow!("nothing open in quarantine has the number {id}; nothing was done")),
            None => Ok(rows),
        }
    }
}

impl List {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let wanted = quarantine::Wanted { closed: self.closed, ..self.filter.wanted(context) };
        let rows = self.filter.find(&*context.postgres().await?, &wanted).await?;
        if self.each {
            return context.out.list(&COLUMNS, &rows);
        }
        context.out.list(&["reason", "count", "oldest", "newest", "ids"], &groups::of(&rows))
    }
}

impl Show {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let conn = context.postgres().await?;
        let wanted = quarantine::Wanted { ids: &[self.id], closed: true, ..quarantine::Wanted::default() };
        let row = quarantine::list(&conn, &wanted).await?.pop();
        let row = row.with_context(|| format!("nothing in quarantine has the number {}", self.id))?;
        let (raw, raw_event) = quarantine::whole(&conn, &row).await?;
        if context.out.is_json() {
            let mut shown = serde_json::to_value(&row)?;
            shown["raw"] = json!(readable(&raw));
            shown["raw_event"] = whole(&raw_event);
            return context.out.json(&shown);
        }
        context.out.object(&row)?;
        for (name, value) in &raw_event.headers {
            context.out.text(&format!("{name}: {value}"))?;
        }
        context.out.text("")?;
        match readable(&raw_event.body) {
            Readable::Text(text) => context.out.text(text),
            Readable::Base64(text) => context.out.text(&format!("not UTF-8, therefore in base64:\n{text}")),
        }
    }
}

fn whole(raw_event: &RawEvent) -> Value {
    json!({"received_at": raw_event.received_at, "headers": raw_event.headers, "body": readable(&raw_event.body)})
}

/// `{"text": …}` or `{"base64": …}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Readable<'a> {
    Text(&'a str),
    /// For bytes that are not UTF-8.
    Base64(String),
}

fn readable(bytes: &[u8]) -> Readable<'_> {
    std::str::from_utf8(bytes).map_or_else(|_| Readable::Base64(BASE64.encode(bytes)), Readable::Text)
}

impl Replay {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let conn = context.postgres().await?;
        let rows = self.selection.read(&conn, context).await?;
        // An item of a raw event that is still being worked on may yet be settled by that work.
        let (rows, waiting): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.ended);
        ensure!(
            waiting.is_empty() || !rows.is_empty(),
            "their raw events are still being worked on: wait, and repeat this"
        );
        if self.selection.dry_run {
            context.note(&format!(
                "would replay {}, and leave {} whose raw events have not ended",
                rows.len(),
                waiting.len()
            ));
            return context.out.list(&COLUMNS, &rows);
        }
        let inbound = Inbound::new(&context.redis().await?);
        for row in &rows {
            replay(&conn, &inbound, row).await?;
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        context.out.object(&json!({"replayed": rows.len(), "waiting": waiting.len(), "ids": ids}))
    }
}

async fn replay(conn: &AsyncPgConnection, inbound: &Inbound, row: &quarantine::QuarantinedRow) -> anyhow::Result<()> {
    let (_, raw_event) = quarantine::whole(conn, row).await?;
    inbound.replay(JobEntry { raw_event, replay: Some(row.as_replay()) }).await?;
    quarantine::replayed(conn, &[row.id]).await?;
    let (actor, target) = (actor(), row.id.to_string());
    let deed = audit_log::Deed { actor: &actor, action: "quarantine replay", target: &target, detail: &row.reason };
    Ok(audit_log::record(conn, &deed).await?)
}

impl Discard {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        ensure!(!self.reason.trim().is_empty(), "--reason is empty: say why these are given up");
        let mut conn = context.postgres().await?;
        let rows = self.selection.read(&conn, context).await?;
        if self.selection.dry_run {
            context.note(&format!("would discard {}", rows.len()));
            return context.out.list(&COLUMNS, &rows);
        }
        let (ids, actor): (Vec<i64>, _) = (rows.iter().map(|row| row.id).collect(), actor());
        let discarded = conn.transaction(async |conn| {
            let discarded = quarantine::discard(conn, &ids, &self.reason).await?;
            let target = discarded.iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
            let deed =
                audit_log::Deed { actor: &actor, action: "quarantine discard", target: &target, detail: &self.reason };
            audit_log::record(conn, &deed).await.map(|()| discarded)
        });
        let discarded = discarded.await?;
        context.out.object(&json!({"discarded": discarded.len(), "ids": discarded}))
    }
}
