//! Looking: groups, each row, and one row with the whole raw event behind it.

use std::{collections::HashMap, fmt};

use anyhow::Context as _;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use clap::Args;
use database::{
    AsyncPgConnection,
    quarantine::{self, QuarantinedRow, WHOLE, Wanted},
};
use serde::Serialize;
use serde_json::{Value, json};
use vocabulary::RawEvent;

use super::super::context::Context;
use super::{groups, selection::Filter};

/// Which rows to list, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
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
pub(in crate::cli) struct Show {
    /// Its number
    id: i64,
}

/// What is shown of each, to people.
pub(super) const COLUMNS: [&str; 9] =
    ["id", "reason", "detail", "source_id", "incarnation", "number", "item", "created_at", "replayed_at"];
/// Likewise, where some are closed: what became of it, on whose word.
const COLUMNS_CLOSED: [&str; 8] =
    ["id", "reason", "source_id", "created_at", "resolution", "closed_at", "closed_by", "note"];
const GROUP: [&str; 5] = ["reason", "count", "oldest", "newest", "ids"];
const GROUP_CLOSED: [&str; 8] = ["reason", "count", "open", "settled", "discarded", "oldest", "newest", "ids"];
const WHAT_NEXT: &str = "look at one: latchhook quarantine show ID; again: latchhook quarantine replay ID or --group REASON; \
                         give up: latchhook quarantine discard ID or --group REASON, --reason WHY";

/// A row, and on whose word it was closed.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    row: &'a QuarantinedRow,
    closed_by: Option<&'a str>,
}

impl List {
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let conn = context.postgres().await?;
        let wanted = Wanted { closed: self.closed, ..self.filter.wanted(context) };
        let rows = self.filter.find(&conn, &wanted).await?;
        if rows.is_empty() && !context.out.is_json() {
            context.note(match (self.filter.is_empty(), self.closed) {
                (true, false) => "nothing is open in quarantine",
                (true, true) => "nothing was ever quarantined",
                (false, false) => "nothing that is open fits; with --closed also what was settled or discarded",
                (false, true) => "nothing fits",
            });
            return Ok(());
        }
        if self.each {
            let columns: &[&str] = if self.closed { &COLUMNS_CLOSED } else { &COLUMNS };
            let closers = closers(&conn, &rows).await?;
            let closed_by = |row: &QuarantinedRow| closers.get(&row.id).map(String::as_str);
            let listed: Vec<_> = rows.iter().map(|row| Listed { row, closed_by: closed_by(row) }).collect();
            context.out.list(columns, &listed)?;
        } else {
            let columns: &[&str] = if self.closed { &GROUP_CLOSED } else { &GROUP };
            context.out.list(columns, &groups::of(&rows))?;
        }
        if !context.out.is_json() && rows.iter().any(|row| row.closed_at.is_none()) {
            context.note(WHAT_NEXT);
        }
        Ok(())
    }
}

async fn closers(conn: &AsyncPgConnection, rows: &[QuarantinedRow]) -> anyhow::Result<HashMap<i64, String>> {
    let closed: Vec<i64> = rows.iter().filter(|row| row.closed_at.is_some()).map(|row| row.id).collect();
    Ok(if closed.is_empty() { HashMap::new() } else { quarantine::closers(conn, &closed).await? })
}

impl Show {
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let conn = context.postgres().await?;
        let wanted = Wanted { ids: &[self.id], closed: true, ..Wanted::default() };
        let row = quarantine::list(&conn, &wanted).await?.pop();
        let row = row.with_context(|| format!("nothing in quarantine has the number {}", self.id))?;
        let (raw, raw_event) = quarantine::whole(&conn, &row).await?;
        let closers = closers(&conn, std::slice::from_ref(&row)).await?;
        let listed = Listed { row: &row, closed_by: closers.get(&row.id).map(String::as_str) };
        if context.out.is_json() {
            let mut shown = serde_json::to_value(&listed)?;
            shown["raw"] = json!(readable(&raw));
            shown["raw_event"] = whole(&raw_event);
            return context.out.json(&shown);
        }
        context.out.object(&listed)?;
        if row.item != WHOLE {
            context.out.text(&format!("\nitem {} of the raw event:\n{}", row.item, readable(&raw)))?;
        }
        context.out.text(&format!("\nthe raw event, received at {}:", raw_event.received_at))?;
        for (name, value) in &raw_event.headers {
            context.out.text(&format!("{name}: {value}"))?;
        }
        context.out.text(&format!("\n{}", readable(&raw_event.body)))
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

impl fmt::Display for Readable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Base64(text) => write!(f, "not UTF-8, therefore in base64:\n{text}"),
        }
    }
}

fn readable(bytes: &[u8]) -> Readable<'_> {
    std::str::from_utf8(bytes).map_or_else(|_| Readable::Base64(BASE64.encode(bytes)), Readable::Text)
}
