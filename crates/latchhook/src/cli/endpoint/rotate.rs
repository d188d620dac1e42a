//! `latchhook endpoint rotate`: a new secret, without a delivery that the customer cannot verify.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use database::{
    audit_log,
    endpoints::secrets::{self, RotateError, Rotation},
};
use diesel_async::AsyncConnection;
use serde_json::json;
use vocabulary::EndpointId;

use super::{
    super::{
        context::{Context, actor},
        secret::NewSecret,
    },
    must_exist,
};

/// Longer than any customer takes to change a setting, and short enough for every calendar.
const LONGEST_OVERLAP: Duration = Duration::from_secs(365 * 24 * 3600);

/// Which endpoint, and what signs from now on.
#[derive(Debug, Args)]
pub(in crate::cli) struct Rotate {
    /// Which endpoint
    id: EndpointId,
    /// How long the other secrets go on signing beside the new one; 0s: not at all, for all that is leased from now on
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = overlap,
          allow_hyphen_values = true)]
    overlap: Duration,
    #[command(flatten)]
    secret: NewSecret,
}

impl Rotate {
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let (mut conn, master) = (context.postgres().await?, context.master_key()?);
        must_exist(&conn, &self.id).await?;
        let secret = self.secret.read()?;
        let (id, others_end) = (&self.id, context.now + self.overlap);
        let rotation = Rotation { secret: &secret.text, others_end, now: context.now };
        let (actor, detail) = (actor(), format!("overlap {}", humantime::format_duration(self.overlap)));
        let deed = audit_log::Deed { actor: &actor, action: "endpoint rotate", target: id.as_str(), detail: &detail };
        let rotating = conn.transaction(async |conn| -> Result<usize, RotateError> {
            let secrets = secrets::rotate(conn, &master, id, &rotation).await?;
            audit_log::record(conn, &deed).await?;
            Ok(secrets)
        });
        let secrets = rotating.await.with_context(|| format!("endpoint {id} keeps the secrets that it has"))?;
        context.out.object(&json!({
            "id": id, "secret": secret.printed(), "public_key": secret.public_key.map(|key| key.to_string()),
            "secrets": secrets, "others_end_at": (secrets > 1).then_some(others_end),
        }))
    }
}

fn overlap(text: &str) -> anyhow::Result<Duration> {
    let advice = "an overlap is a time: 24h, or 0s for none";
    let overlap = humantime::parse_duration(text).with_context(|| format!("{text:?} is no time: {advice}"))?;
    ensure!(overlap <= LONGEST_OVERLAP, "an overlap is a year at most");
    Ok(overlap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_is_from_nothing_to_a_year() {
        assert_eq!(overlap("0s").unwrap(), Duration::ZERO);
        assert_eq!(overlap("24h").unwrap(), Duration::from_secs(86_400));
        assert_eq!(overlap("365days").unwrap(), LONGEST_OVERLAP);
        assert!(overlap("366days").is_err() && overlap("-1s").is_err() && overlap("a day").is_err());
    }
}
