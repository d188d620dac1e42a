//! `latchhook migrate`: brings the schema up to date. Safe with many replicas at once.

use serde_json::json;

use super::context::Context;

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>) -> anyhow::Result<()> {
    let ran = database::migrate(context.database_url()?).await?;
    if ran.is_empty() {
        context.note("the schema is up to date");
    }
    context.out.list(&["migration"], &ran.iter().map(|name| json!({"migration": name})).collect::<Vec<_>>())
}
