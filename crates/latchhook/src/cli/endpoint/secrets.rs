//! The secrets of an endpoint, without revealing them: the scheme of each, and until when it signs.

use database::{
    AsyncPgConnection,
    endpoints::{self, secrets::Kept},
};
use dispatcher::signing::SigningSecret;
use serde_json::{Value, json};
use vocabulary::{EndpointId, MasterKey};

use super::super::context::Context;

/// Those that the row holds, as `endpoint show` prints them. The scheme stands in the secret, so without the master key it
/// is left out, and the person at the terminal is told why.
pub(super) async fn shown(conn: &AsyncPgConnection, context: &Context<'_>, id: &EndpointId) -> anyhow::Result<Value> {
    let secrets = endpoints::secrets::list(conn, id).await?;
    let opened = context
        .master_key()
        .and_then(|master| secrets.iter().map(|secret| open(&master, id, secret)).collect::<anyhow::Result<Vec<_>>>());
    let opened = match opened {
        Ok(opened) => opened.into_iter().map(Some).collect(),
        Err(error) => {
            context.note(&format!("the schemes of its secrets cannot be told: {error:#}"));
            vec![None; secrets.len()]
        }
    };
    let rows = secrets.iter().zip(&opened).map(|(secret, opened)| {
        let has_ended = secret.ends.is_some_and(|ends| ends <= context.now);
        json!({
            "scheme": opened.as_ref().map(|opened| opened.scheme().as_str()), "ends_at": secret.ends, "ended": has_ended,
            "public_key": opened.as_ref().and_then(SigningSecret::public_key).map(|key| key.to_string()),
        })
    });
    let rows = rows.collect::<Vec<_>>();
    Ok(if context.out.is_json() { Value::from(rows) } else { rows.iter().map(in_words).collect() })
}

fn open(master: &MasterKey, id: &EndpointId, secret: &Kept) -> anyhow::Result<SigningSecret> {
    Ok(SigningSecret::parse(&endpoints::open_sealed(master, id.as_str(), &secret.sealed)?)?)
}

/// On one line, between commas.
fn in_words(row: &Value) -> String {
    let word = |name: &str| row[name].as_str().map(str::to_owned);
    let key = word("public_key").map(|key| format!(" {key}"));
    let verb = if row["ended"] == true { "ended" } else { "until" };
    let end = word("ends_at").map(|at| format!(" {verb} {at}"));
    [word("scheme").unwrap_or_else(|| "?".to_owned()), key.unwrap_or_default(), end.unwrap_or_default()].concat()
}
