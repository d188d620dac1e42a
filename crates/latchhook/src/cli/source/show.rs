//! What people see of sources.

use anyhow::Context as _;
use database::sources::{self, SourceRow};
use providers::Provider;
use serde_json::{Value, json};
use vocabulary::SourceId;

use super::{Context, path, there, unknown};

/// `latchhook source list`.
pub(super) async fn list(context: &mut Context<'_>) -> anyhow::Result<()> {
    let sources = sources::list(&*context.postgres().await?).await?;
    let columns = ["id", "account_id", "name", "provider", "enabled", "body_limit", "path", "created_at"];
    context.out.list(&columns, &sources.iter().map(row).collect::<Vec<_>>())
}

/// `latchhook source show`.
pub(super) async fn one(context: &mut Context<'_>, id: &SourceId) -> anyhow::Result<()> {
    let source = there(&*context.postgres().await?, id).await?.with_context(|| unknown(id))?;
    context.out.object(&row(&source))
}

/// `body_limit` holds, in bytes; `max_body` is what it was told, if it was; `verify_token` says whether it has one.
fn row(source: &SourceRow) -> Value {
    let of_provider = source.provider.parse().ok().map(Provider::body_limit);
    json!({
        "id": source.id, "account_id": source.account_id, "name": source.name, "provider": source.provider,
        "enabled": source.enabled, "settings": source.settings, "verify_token": source.has_verify_token, "tokens": source.tokens(), "path": path(&source.id),
        "body_limit": source.body_limit.map_or_else(|| json!(of_provider), |own| json!(own)),
        "max_body": source.body_limit, "created_at": source.created_at,
    })
}
