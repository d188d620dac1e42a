//! Which rows: by number, or by what they are.

use anyhow::{bail, ensure};
use clap::{ArgGroup, Args};
use database::{
    AsyncPgConnection,
    quarantine::{self, QuarantinedRow, Wanted},
};
use vocabulary::SourceId;

use super::super::{context::Context, since::Since, source};

/// Which rows.
#[derive(Debug, Args)]
pub(super) struct Filter {
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
pub(super) struct Selection {
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
    pub(super) dry_run: bool,
}

impl Filter {
    pub(super) fn wanted<'a>(&'a self, context: &Context<'_>) -> Wanted<'a> {
        Wanted {
            reason: self.group.as_deref(),
            source_id: self.source.as_ref().map(SourceId::as_str),
            since: self.since.map(|since| since.as_of(context.now)),
            ..Wanted::default()
        }
    }

    /// Whether everything fits.
    pub(super) fn is_empty(&self) -> bool {
        self.group.is_none() && self.source.is_none() && self.since.is_none()
    }

    /// A misspelt name would match nothing, as if there were nothing to do. What was closed since is a match of a known
    /// one; so is what came from a source that was never added.
    async fn must_name_what_is_there(&self, conn: &AsyncPgConnection) -> anyhow::Result<()> {
        if let Some(reason) = self.group.as_deref() {
            let ever = Wanted { reason: Some(reason), closed: true, ..Wanted::default() };
            let is_there = !quarantine::list(conn, &ever).await?.is_empty();
            ensure!(is_there, "there is no group '{reason}': latchhook quarantine list --closed names them");
        }
        match &self.source {
            Some(source) => source::must_exist(conn, source).await,
            None => Ok(()),
        }
    }

    /// What is wanted of it. Names are looked up only when nothing is found.
    pub(super) async fn find(
        &self,
        conn: &AsyncPgConnection,
        wanted: &Wanted<'_>,
    ) -> anyhow::Result<Vec<QuarantinedRow>> {
        let rows = quarantine::list(conn, wanted).await?;
        if rows.is_empty() {
            self.must_name_what_is_there(conn).await?;
        }
        Ok(rows)
    }
}

impl Selection {
    pub(super) async fn read(
        &self,
        conn: &AsyncPgConnection,
        context: &Context<'_>,
    ) -> anyhow::Result<Vec<QuarantinedRow>> {
        let wanted = Wanted { ids: &self.ids, ..self.filter.wanted(context) };
        let rows = self.filter.find(conn, &wanted).await?;
        match self.ids.iter().find(|id| !rows.iter().any(|row| row.id == **id)) {
            Some(id) => bail!("{}; nothing was done", why_not(conn, *id).await?),
            None => Ok(rows),
        }
    }
}

/// Why a row that was named is not among those that were found.
async fn why_not(conn: &AsyncPgConnection, id: i64) -> anyhow::Result<String> {
    let wanted = Wanted { ids: &[id], closed: true, ..Wanted::default() };
    let Some(row) = quarantine::list(conn, &wanted).await?.pop() else {
        return Ok(format!("nothing in quarantine has the number {id}"));
    };
    Ok(match (row.closed_at, row.resolution.as_deref(), row.note.as_deref()) {
        (Some(at), Some("discarded"), note) => format!("{id} was discarded at {at} ({})", note.unwrap_or_default()),
        (Some(at), ..) => format!("{id} was settled by a replay at {at}"),
        (None, ..) => format!("{id} is open, but not one of those that the other options name"),
    })
}
