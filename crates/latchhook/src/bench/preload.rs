//! Stores that know many events already, because a ledger is never small for long.

use anyhow::Context;

use super::stores::Stores;

/// As the stages would have written it, but in one statement a table.
const FILL: &str = include_str!("../../../../tests/speed/fill.sql");
/// Raw events that no producer of ours has numbered, so nobody misses one.
const INCARNATION: &str = "foreign-preload";

/// Fills Postgres with so many events of another source, each delivered, unless it was filled for an earlier run. Returns
/// once what it wrote is on the disk, so that no checkpoint of it falls into what is measured.
///
/// # Errors
/// When a statement fails.
pub(super) async fn fill(stores: &Stores, events: u64) -> anyhow::Result<()> {
    if events == 0 || stores.are_filled() {
        return Ok(());
    }
    eprintln!("filling Postgres with {events} events");
    let script = FILL.replace(":events", &events.to_string()).replace(":incarnation", INCARNATION);
    // One at a time: together they would be one transaction, and VACUUM refuses to be in one.
    for statement in script.split(";\n").chain(["CHECKPOINT"]) {
        stores.postgres.batch_execute(statement).await.context("Postgres cannot be filled")?;
    }
    stores.keep_filled()
}
