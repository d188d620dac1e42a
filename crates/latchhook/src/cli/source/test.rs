//! `latchhook source test`: a signed sample through the real door; or an unsigned one, where only the sender can sign.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use clap::Args;
use database::sources;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{HeaderMap, Request, Uri, header::CONTENT_TYPE, http::HeaderValue};
use providers::{NoSample, Provider, Sample, Signed};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use vocabulary::{Source, SourceId};

use super::{path, unknown};
use crate::cli::{
    context::{Context, fresh_id},
    http::{HttpUrl, client},
};

/// A producer answers within milliseconds, or says that it cannot.
const DEADLINE: Duration = Duration::from_secs(15);
/// Producers look for changes every second, and give up on a look after two.
const KNOWN_WITHIN: Duration = Duration::from_secs(4);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of its answer.
const LONGEST_ANSWER: usize = 64 << 10;

/// Send a sample as the provider would, signed with the source's secret, to a running producer. It is taken like any other:
/// it becomes an event, and endpoints are told of it. Where only the provider can sign, one without a signature is sent, and
/// must be refused
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
        ensure!(
            source.enabled,
            "the source {0} is disabled, and its sender is answered 404: latchhook source enable {0}",
            self.id
        );
        let provider: Provider = source.provider.parse()?;
        let (fresh, id): (SourceId, _) = (fresh_id()?, &self.id);
        let url = format!("{}{}", self.to.to_string().trim_end_matches('/'), path(id.as_str()));
        let status = match provider.sample(&source, &Sample { id: fresh.as_str(), now: context.now }) {
            Ok(sample) => {
                let (status, answer) = send_until_known(&url, &sample).await?;
                ensure_taken(status, &answer, id)?;
                context.note(&format!(
                    "Taken. latchhook events list --source {id} shows it once a worker has committed it"
                ));
                note_signed_url(context, provider, &source);
                status
            }
            Err(NoSample::OnlyTheSenders) => {
                let (status, answer) = send(&url, &unsigned()).await?;
                ensure_refused(status, &answer, id)?;
                context.note(&format!(
                    "Refused, as it must be: a producer is reached, knows {id}, and takes nothing unsigned"
                ));
                context.note(&format!("Only the sender can send what is taken: {}", provider.about().url));
                status
            }
            Err(NoSample::Unusable) => bail!(
                "nothing can be signed with the secret of {id}: it must be {}. latchhook source rotate {id} replaces it",
                provider.about().secret
            ),
        };
        let taken = status < 300;
        context
            .out
            .object(&json!({"id": id, "provider": provider.as_str(), "url": url, "status": status, "taken": taken}))
    }
}

/// Sent to another address, a sample is still signed for the one that the source was told.
fn note_signed_url(context: &Context<'_>, provider: Provider, source: &Source) {
    if let Some(url) = provider.signed_url().and_then(|name| source.settings.get(name)).and_then(Value::as_str) {
        context
            .note(&format!("It was signed for {url}, which is what the sender must have been given, letter by letter"));
    }
}

fn unsigned() -> Signed {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    Signed { headers, query: String::new(), body: Bytes::from_static(b"{}") }
}

/// What was added or rotated a moment ago, a producer knows within seconds.
async fn send_until_known(url: &str, sample: &Signed) -> anyhow::Result<(u16, Bytes)> {
    let began = Instant::now();
    loop {
        let (status, answer) = send(url, sample).await?;
        if !matches!(status, 401 | 404) || began.elapsed() >= KNOWN_WITHIN {
            return Ok((status, answer));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn send(url: &str, sample: &Signed) -> anyhow::Result<(u16, Bytes)> {
    // Its query may be the secret: it is sent, and shown nowhere.
    let whole: Uri = format!("{url}{}", sample.query).parse().context("no URL can be made of --to")?;
    let mut request = Request::post(whole).body(Full::new(sample.body.clone()))?;
    request.headers_mut().extend(sample.headers.clone());
    timeout(DEADLINE, post(request))
        .await
        .with_context(|| format!("{url} gave no whole answer within {} s", DEADLINE.as_secs()))?
        .with_context(|| format!("{url} cannot be reached: is a producer running there?"))
}

async fn post(request: Request<Full<Bytes>>) -> anyhow::Result<(u16, Bytes)> {
    let response = client()?.request(request).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
    Ok((status, body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
}

fn ensure_taken(status: u16, answer: &[u8], id: &SourceId) -> anyhow::Result<()> {
    match status {
        200..=299 => Ok(()),
        401 => bail!(
            "{status} {}: the producer knows another secret of {id}: is it a producer of this Redis?",
            String::from_utf8_lossy(answer)
        ),
        _ => Err(neither(status, answer, id)),
    }
}

fn ensure_refused(status: u16, answer: &[u8], id: &SourceId) -> anyhow::Result<()> {
    ensure!(status >= 300, "{status}: what nobody has signed was taken: that is no producer of latchhook");
    if status == 401 { Ok(()) } else { Err(neither(status, answer, id)) }
}

/// What is said of an answer that neither takes nor refuses.
fn neither(status: u16, answer: &[u8], id: &SourceId) -> anyhow::Error {
    let answer = String::from_utf8_lossy(answer);
    match status {
        404 => anyhow!("{status} {answer}: the producer knows no source {id}: is it a producer of this Redis?"),
        500.. => anyhow!("{status} {answer}: it cannot take anything now: latchhook doctor"),
        _ => anyhow!("{status} {answer}"),
    }
}
