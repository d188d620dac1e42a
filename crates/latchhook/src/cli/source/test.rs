//! `latchhook source test`: a signed sample through the real door.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use clap::Args;
use database::sources;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Uri};
use providers::{Provider, Sample};
use serde_json::json;
use tokio::time::timeout;
use vocabulary::SourceId;

use super::{path, unknown};
use crate::cli::{
    context::{Context, fresh_id},
    http::{HttpUrl, client},
};

/// A producer answers within milliseconds, or says that it cannot.
const DEADLINE: Duration = Duration::from_secs(15);
/// Bytes of its answer.
const LONGEST_ANSWER: usize = 64 << 10;

/// Send a sample as the provider would, signed with the source's secret, to a running producer. It is taken like any other:
/// it becomes an event, and endpoints are told of it
#[derive(Debug, Args)]
pub(in crate::cli) struct Test {
    /// Which source
    id: SourceId,
    /// Where the producer is reached
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    to: HttpUrl,
}

impl Test {
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let opened = sources::open_all(&*context.postgres().await?, &context.master_key()?).await?;
        let source = opened.find(&self.id)?.with_context(|| unknown(&self.id))?;
        let provider: Provider = source.provider.parse()?;
        let sample_id: SourceId = fresh_id()?;
        let sample = provider.sample(&source, &Sample { id: sample_id.as_str(), now: context.now });
        let sample = sample.with_context(|| {
            format!("no sample of {provider} can be made here: only {} itself can sign", provider.about().title)
        })?;
        let url = format!("{}{}", self.to.to_string().trim_end_matches('/'), path(self.id.as_str()));
        // Its query may be the secret: it is sent, and shown nowhere.
        let whole: Uri = format!("{url}{}", sample.query).parse().context("no URL can be made of --to")?;
        let mut request = Request::post(whole).body(Full::new(sample.body))?;
        request.headers_mut().extend(sample.headers);
        let (status, answer) = timeout(DEADLINE, post(request))
            .await
            .with_context(|| format!("{url} gave no whole answer within {} s", DEADLINE.as_secs()))?
            .with_context(|| format!("{url} cannot be reached: is a producer running there?"))?;
        ensure_taken(status, &answer, &self.id)?;
        context.note(&format!(
            "Taken. latchhook events list --source {} shows it once a worker has committed it",
            self.id
        ));
        context.out.object(&json!({"id": self.id, "provider": provider.as_str(), "url": url, "status": status}))
    }
}

async fn post(request: Request<Full<Bytes>>) -> anyhow::Result<(u16, Bytes)> {
    let response = client()?.request(request).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
    Ok((status, body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
}

fn ensure_taken(status: u16, answer: &[u8], id: &SourceId) -> anyhow::Result<()> {
    let answer = String::from_utf8_lossy(answer);
    match status {
        200..=299 => Ok(()),
        401 => bail!("{status} {answer}: the producer knows another secret of {id}: is it a producer of this Redis?"),
        404 => bail!("{status} {answer}: the producer knows no source {id}, or it is disabled"),
        _ => {
            ensure!(status < 500, "{status} {answer}: it cannot take anything now: latchhook doctor");
            bail!("{status} {answer}")
        }
    }
}
