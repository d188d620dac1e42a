//! The sources that requests may come from: one of our own at least.

use std::collections::HashMap;

use anyhow::Context;

use super::ledger;

/// So that it runs on empty stores too.
const OWN: &str = "\
    INSERT INTO accounts (id, name) VALUES ('bench', 'Bench') ON CONFLICT DO NOTHING; \
    INSERT INTO sources (id, account_id, name, provider, secrets) VALUES ('bench', 'bench', 'Bench', 'whatsapp', '{}') \
    ON CONFLICT DO NOTHING";

/// All that there are, with their accounts.
///
/// # Errors
/// When there is no such database, or it does not take our schema.
pub(super) async fn all(database: &str) -> anyhow::Result<HashMap<String, String>> {
    database::migrate(database).await?;
    let client = ledger::connect(database).await?;
    client.batch_execute(OWN).await.context("cannot add a source")?;
    let rows = client.query("SELECT id, account_id FROM sources", &[]).await.context("cannot read the sources")?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
