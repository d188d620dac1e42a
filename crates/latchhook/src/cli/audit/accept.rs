//! `latchhook audit accept`: what Redis forgot is gone, and a person says so. From then on it is no breach, and stays named.

use anyhow::ensure;
use clap::Args;
use database::{audit, audit_log, losses, losses::Loss};
use diesel_async::AsyncConnection;
use queue::Inbound;

use super::numbers::Numbers;
use crate::cli::{
    context::{Context, actor},
    sentence,
};

/// Accept as lost what is missing now, for a reason that is kept
#[derive(Debug, Args)]
pub(super) struct Accept {
    /// Why it is given up: kept with the numbers and in the audit log
    #[arg(long, value_name = "WHY", value_parser = sentence::reason)]
    reason: String,
    /// Only numbers of this incarnation of the queue
    #[arg(long, value_name = "ID")]
    incarnation: Option<String>,
    /// Only say which
    #[arg(long)]
    dry_run: bool,
}

impl Accept {
    /// Runs it.
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let inbound = Inbound::new(&context.redis().await?);
        let mut conn = context.postgres().await?;
        audit::prepare(&mut conn).await?;
        let mut lost = Numbers::read(&inbound, &conn).await?.to_accept();
        if let Some(incarnation) = &self.incarnation {
            lost.retain(|loss| loss.incarnation == *incarnation);
        }
        ensure!(!lost.is_empty(), "nothing {}is missing, so there is no loss to accept", self.scope());
        if !self.dry_run {
            let (actor, reason, target) = (actor(), self.reason, names(&lost));
            let deed = audit_log::Deed { actor: &actor, action: "audit accept", target: &target, detail: &reason };
            conn.transaction(async |conn| {
                audit_log::record(conn, &deed).await?;
                losses::accept(conn, &lost, &actor, &reason).await
            })
            .await?;
        }
        context.out.list(&["incarnation", "first", "last"], &lost)
    }

    fn scope(&self) -> String {
        self.incarnation.as_ref().map(|incarnation| format!("of incarnation {incarnation} ")).unwrap_or_default()
    }
}

/// `INCARNATION-FIRST..LAST` each; without the last where nobody knows it.
fn names(lost: &[Loss]) -> String {
    let name = |loss: &Loss| {
        let last = loss.last.map(|last| last.to_string()).unwrap_or_default();
        format!("{}-{}..{last}", loss.incarnation, loss.first)
    };
    lost.iter().map(name).collect::<Vec<_>>().join(" ")
}
