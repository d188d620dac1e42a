//! `latchhook source token`: what an app shows that enqueues raw events over HTTP.

use anyhow::bail;
use clap::Args;
use database::{
    audit_log,
    sources::tokens::{self, Change, Changed},
};
use diesel_async::AsyncConnection;
use secrecy::ExposeSecret;
use serde_json::json;
use vocabulary::{SourceId, TokenHash};

use super::{super::context::actor, Context, unknown};

/// Which source, and what becomes of the tokens that it has.
#[derive(Debug, Args)]
pub(in crate::cli) struct Token {
    /// Which source
    id: SourceId,
    /// Make another one; the newest of those that there are is taken beside it until the next rotation, the others end now
    #[arg(long, conflicts_with = "revoke")]
    rotate: bool,
    /// Make none, and take none: every token of the source ends now
    #[arg(long)]
    revoke: bool,
}

impl Token {
    /// Runs it. The token is printed once the producers know it.
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let mut change = super::Change::begin(context).await?;
        let (token, hash) = TokenHash::generate();
        let (wanted, detail) = match (self.rotate, self.revoke) {
            (true, _) => (Change::Rotate(hash), "rotate"),
            (_, true) => (Change::Revoke, "revoke"),
            _ => (Change::First(hash), "first"),
        };
        let (id, actor) = (&self.id, actor());
        let deed = audit_log::Deed { actor: &actor, action: "source token", target: id.as_str(), detail };
        let changing = change.postgres.transaction(async |conn| -> database::QueryResult<Changed> {
            let changed = tokens::change(conn, id, &wanted).await?;
            if let Changed::To(_) = changed {
                audit_log::record(conn, &deed).await?;
            }
            Ok(changed)
        });
        let tokens = match changing.await? {
            Changed::To(tokens) => tokens,
            Changed::HasOne => bail!("source {id} has a token already: --rotate makes another beside it"),
            Changed::NoSource => bail!(unknown(id)),
        };
        change.publish(context).await?;
        let shown = (!self.revoke).then(|| token.expose_secret());
        context
            .out
            .object(&json!({"id": id, "token": shown, "tokens": tokens, "path": super::raw_events_path(id.as_str())}))
    }
}
