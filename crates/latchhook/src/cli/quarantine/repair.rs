//! Repairing: process some again, or give some up.
//!
//! A replay is pushed to Redis first and noted in Postgres afterwards: if we die between the two, the row stays open and
//! the item is processed all the same. It cannot record anything twice, because the ledger decides as ever.

use anyhow::ensure;
use clap::Args;
use database::{
    AsyncPgConnection, audit_log,
    quarantine::{self, QuarantinedRow},
};
use diesel_async::AsyncConnection;
use queue::Inbound;
use serde_json::json;
use vocabulary::JobEntry;

use super::super::{
    context::{Context, actor},
    sentence,
};
use super::{look::COLUMNS, selection::Selection};

/// Which rows.
#[derive(Debug, Args)]
pub(in crate::cli) struct Replay {
    #[command(flatten)]
    selection: Selection,
}

/// Which rows, and why.
#[derive(Debug, Args)]
pub(in crate::cli) struct Discard {
    #[command(flatten)]
    selection: Selection,
    /// Why they are given up: kept with them and in the audit log
    #[arg(long, value_name = "WHY", value_parser = sentence::reason)]
    reason: String,
}

impl Replay {
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let conn = context.postgres().await?;
        let rows = self.selection.read(&conn, context).await?;
        // An item of a raw event that is still being worked on may yet be settled by that work.
        let (rows, waiting): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.ended);
        ensure!(
            waiting.is_empty() || !rows.is_empty(),
            "their raw events are still being worked on: wait, and repeat this"
        );
        if self.selection.dry_run {
            context.note(&format!("would replay {}{}", rows.len(), left(waiting.len())));
            return context.out.list(&COLUMNS, &rows);
        }
        let inbound = Inbound::new(&context.redis().await?);
        for row in &rows {
            replay(&conn, &inbound, row).await?;
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        context.note(&match rows.len() {
            0 => "nothing that is open fits".to_owned(),
            many => format!(
                "{many} handed to the workers{}: within seconds each is settled, or open as before \
                 (latchhook quarantine list)",
                left(waiting.len())
            ),
        });
        context.out.object(&json!({"replayed": rows.len(), "waiting": waiting.len(), "ids": ids}))
    }
}

fn left(waiting: usize) -> String {
    if waiting == 0 {
        String::new()
    } else {
        format!(", and {waiting} left whose raw events are still being worked on")
    }
}

async fn replay(conn: &AsyncPgConnection, inbound: &Inbound, row: &QuarantinedRow) -> anyhow::Result<()> {
    let (_, raw_event) = quarantine::whole(conn, row).await?;
    inbound.replay(JobEntry { raw_event, replay: Some(row.as_replay()) }).await?;
    quarantine::replayed(conn, &[row.id]).await?;
    let (actor, target) = (actor(), row.id.to_string());
    let deed = audit_log::Deed { actor: &actor, action: "quarantine replay", target: &target, detail: &row.reason };
    Ok(audit_log::record(conn, &deed).await?)
}

impl Discard {
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
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
        let replayed = rows.iter().filter(|row| row.replayed_at.is_some()).count();
        if replayed > 0 {
            context.note(&format!("{replayed} of them had been replayed: what is still on its way may yet be settled"));
        }
        context.out.object(&json!({"discarded": discarded.len(), "ids": discarded}))
    }
}
