//! `latchhook master-key`: the key that secrets are sealed under, and how it is replaced.
//!
//! Rows are sealed anew one by one, each in a short transaction that locks it: whatever is changed at the same time is
//! either sealed anew or sealed by whoever changes it, and never lost. It may be interrupted and repeated.

use anyhow::{Context as _, ensure};
use clap::Subcommand;
use database::{AsyncPgConnection, OpenError, audit_log, endpoints, sealed::SealedRow, sources};
use diesel_async::AsyncConnection;
use queue::Snapshots;
use serde::Serialize;
use serde_json::json;
use vocabulary::{MasterKey, SealedUnder};

use super::{
    context::{Context, actor},
    source::Change,
};

/// The key that secrets at rest are sealed under
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Seal all secrets anew, under the first key of LATCHHOOK_MASTER_KEY
    ///
    /// The first key seals, and all of them open. A process that does not know a key cannot open what was sealed under it,
    /// so a new key is known to every process before one of them seals under it:
    ///
    /// 1. Make a key: head -c 32 /dev/urandom | base64
    ///
    /// 2. Restart every process with LATCHHOOK_MASTER_KEY=OLD,NEW (if there is only one, begin with 3)
    ///
    /// 3. Restart every process with LATCHHOOK_MASTER_KEY=NEW,OLD
    ///
    /// 4. With the same: latchhook master-key rotate
    ///
    /// 5. When latchhook master-key status says so, restart every process with LATCHHOOK_MASTER_KEY=NEW
    ///
    /// Keep the old key for as long as you keep backups from before. It may be repeated at any time.
    Rotate,
    /// Say how many sources and endpoints still need an old key, and how many deliveries wait for one that is not named
    Status,
}

/// Runs it.
pub(super) async fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::Rotate => rotate(Change::under_any_key(context).await?, context).await,
        Command::Status => {
            let (master, postgres) = (context.master_key()?, context.postgres().await?);
            let census = Census::take(&postgres, &master, snapshot(context, &master).await).await?;
            context.out.object(&census)
        }
    }
}

/// Which key the snapshot is sealed under that producers read; `None` where there is none.
async fn snapshot(context: &Context<'_>, master: &MasterKey) -> anyhow::Result<Option<SealedUnder>> {
    Ok(Snapshots::new(&context.redis().await?).sealed_under(master).await?)
}

async fn rotate(mut change: Change, context: &mut Context<'_>) -> anyhow::Result<()> {
    let holders = holders(&change.postgres, &change.master).await?;
    must_open(&holders)?;
    let (mut sources, mut endpoints) = (0, 0);
    for holder in holders.iter().filter(|holder| holder.needs == SealedUnder::Old) {
        let resealed = usize::from(reseal(&mut change, holder).await?);
        match holder.table {
            Table::Sources => sources += resealed,
            Table::Endpoints => endpoints += resealed,
        }
    }
    change.publish(context).await?;
    let snapshot = snapshot(context, &change.master).await?;
    let old_keys_may_go = Census::take(&change.postgres, &change.master, Ok(snapshot)).await?.old_keys_may_go;
    if !old_keys_may_go {
        context.note("somebody seals under an old key: is the new one the first in LATCHHOOK_MASTER_KEY everywhere?");
    }
    context.out.object(&json!({
        "resealed_sources": sources, "resealed_endpoints": endpoints, "old_keys_may_go": old_keys_may_go,
    }))
}

/// Before anything is done: what no key opens cannot be sealed anew.
fn must_open(holders: &[Holder]) -> anyhow::Result<()> {
    let lost: Vec<_> = holders.iter().filter(|holder| holder.needs == SealedUnder::Unnamed).map(Holder::name).collect();
    ensure!(
        lost.is_empty(),
        "sealed under a key that LATCHHOOK_MASTER_KEY does not name: {}; add that key behind the others, or give them new \
         secrets (source add --id, endpoint rotate --overlap 0s, endpoint set --no-access)",
        lost.join(", ")
    );
    Ok(())
}

async fn reseal(change: &mut Change, holder: &Holder) -> anyhow::Result<bool> {
    let (actor, master, target) = (actor(), &change.master, holder.name());
    let resealing = change.postgres.transaction(async |conn| -> Result<bool, OpenError> {
        let resealed = match holder.table {
            Table::Sources => sources::reseal(conn, master, &holder.id).await?,
            Table::Endpoints => endpoints::secrets::reseal(conn, master, &holder.id).await?,
        };
        if resealed {
            let deed = audit_log::Deed { actor: &actor, action: "master-key rotate", target: &target, detail: "" };
            audit_log::record(conn, &deed).await?;
        }
        Ok(resealed)
    });
    resealing.await.with_context(|| format!("the secrets of {target} are not sealed anew"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Sources,
    Endpoints,
}

/// A row with secrets in it.
struct Holder {
    table: Table,
    id: String,
    needs: SealedUnder,
}

impl Holder {
    fn name(&self) -> String {
        match self.table {
            Table::Sources => format!("source {}", self.id),
            Table::Endpoints => format!("endpoint {}", self.id),
        }
    }
}

async fn holders(conn: &AsyncPgConnection, master: &MasterKey) -> anyhow::Result<Vec<Holder>> {
    let of = |table| move |row: SealedRow| Holder { table, needs: row.needs(master), id: row.id };
    let sources = sources::sealed(conn).await?.into_iter().map(of(Table::Sources));
    let endpoints = endpoints::secrets::sealed(conn).await?.into_iter().map(of(Table::Endpoints));
    Ok(sources.chain(endpoints).collect())
}

/// Which keys are needed, by how many.
#[derive(Serialize)]
struct Census {
    sources: usize,
    sources_under_old_keys: usize,
    endpoints: usize,
    endpoints_under_old_keys: usize,
    /// Sources and endpoints that none of the named keys opens.
    under_unnamed_keys: usize,
    /// Deliveries to such endpoints: they stay due until a dispatcher has the key.
    deliveries_waiting_for_unnamed_keys: i64,
    /// What producers read in Redis is not sealed under the first key; `None` where it cannot be read.
    snapshot_under_old_key: Option<bool>,
    /// Why it cannot.
    snapshot_unknown: Option<String>,
    /// Never as long as the snapshot is unknown.
    old_keys_may_go: bool,
}

impl Census {
    async fn take(
        conn: &AsyncPgConnection,
        master: &MasterKey,
        snapshot: anyhow::Result<Option<SealedUnder>>,
    ) -> anyhow::Result<Self> {
        let holders = holders(conn, master).await?;
        let snapshot = snapshot.map(|snapshot| snapshot.is_some_and(|under| under != SealedUnder::First));
        let waiting = endpoints::secrets::waiting_for_a_key(conn, master).await?;
        let count = |is_one: &dyn Fn(&Holder) -> bool| holders.iter().filter(|holder| is_one(holder)).count();
        let of = |table| count(&move |holder| holder.table == table);
        let old = |table| count(&move |holder| holder.table == table && holder.needs == SealedUnder::Old);
        Ok(Self {
            sources: of(Table::Sources),
            sources_under_old_keys: old(Table::Sources),
            endpoints: of(Table::Endpoints),
            endpoints_under_old_keys: old(Table::Endpoints),
            under_unnamed_keys: count(&|holder| holder.needs == SealedUnder::Unnamed),
            deliveries_waiting_for_unnamed_keys: waiting.iter().map(|(_, owed)| owed).sum(),
            snapshot_under_old_key: snapshot.as_ref().ok().copied(),
            old_keys_may_go: matches!(snapshot, Ok(false)) && count(&|holder| holder.needs != SealedUnder::First) == 0,
            snapshot_unknown: snapshot.err().map(|away| format!("{away:#}")),
        })
    }
}
