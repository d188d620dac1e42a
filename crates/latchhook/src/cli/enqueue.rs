//! `latchhook enqueue`: raw events from files, each file one body, as if a source had sent them. No signature is asked for:
//! whoever may write to Redis may enqueue. How large they may be, and which headers are kept, is as at every door.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::Args;
use database::sources::SourceRow;
use providers::{Door, Provider};
use queue::Inbound;
use serde_json::{Map, json};
use vocabulary::{Job, RawEvent, SourceId, Stamp};

use super::{context::Context, source};

/// So many files make one push to Redis.
const TOGETHER: usize = 100;

/// What to enqueue, and in whose name.
#[derive(Debug, Args)]
pub(super) struct Enqueue {
    /// The source that they are from
    #[arg(long, value_name = "ID")]
    source: SourceId,
    /// A header that came with each of them; those that the provider needs are kept. Again for more
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Files, each of them one body; - for stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Enqueue {
    /// Runs it. Every file is read before anything is enqueued.
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let source = self.must_exist(context).await?;
        let no_settings = Map::new();
        let settings = source.settings.as_object().unwrap_or(&no_settings);
        let limit = source.body_limit.and_then(|own| u32::try_from(own).ok());
        let door = source.provider.parse::<Provider>()?.door(limit, settings);
        let bodies = self.files.iter().map(|file| self.body(file, &door)).collect::<anyhow::Result<Vec<_>>>()?;
        let headers = door.keep(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let stamps = self.enqueue(context, &headers, &bodies).await?;
        let rows: Vec<_> = self.files.iter().zip(&stamps).map(row).collect();
        context.out.list(&["raw_event", "file"], &rows)
    }

    async fn must_exist(&self, context: &Context<'_>) -> anyhow::Result<SourceRow> {
        let source = source::there(&*context.postgres().await?, &self.source).await?;
        let source = source.with_context(|| format!("there is no source {}: add it first", self.source))?;
        ensure!(source.enabled, "source {0} is disabled: latchhook source enable {0}", self.source);
        Ok(source)
    }

    fn body(&self, file: &Path, door: &Door<'_>) -> anyhow::Result<Bytes> {
        let body = read(file).with_context(|| format!("{} cannot be read, nothing was enqueued", file.display()))?;
        door.check(body.len()).with_context(|| {
            let (file, source) = (file.display(), &self.source);
            format!("{file} is too large for source {source} (its --max-body), nothing was enqueued")
        })?;
        Ok(body)
    }

    async fn enqueue(
        &self,
        context: &Context<'_>,
        headers: &[(String, String)],
        bodies: &[Bytes],
    ) -> anyhow::Result<Vec<Stamp>> {
        let inbound = Inbound::new(&context.redis().await?);
        let mut stamps = Vec::with_capacity(bodies.len());
        for bodies in bodies.chunks(TOGETHER) {
            let jobs: Vec<Job> = bodies.iter().map(|body| self.job(headers, body, context)).collect();
            stamps.extend(inbound.enqueue(&jobs).await.with_context(|| format!("{} were enqueued", stamps.len()))?);
        }
        Ok(stamps)
    }

    fn job(&self, headers: &[(String, String)], body: &Bytes, context: &Context<'_>) -> Job {
        let (source_id, headers, body) = (self.source.clone(), headers.to_owned(), body.clone());
        Job::of([RawEvent { source_id, received_at: context.now, headers, body }])
    }
}

/// A header as it is written in HTTP.
fn header(text: &str) -> Result<(String, String), &'static str> {
    let named = text.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
    let (name, value) = named.filter(|(name, _)| !name.is_empty()).ok_or("a header is written as NAME: VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn row((file, stamp): (&PathBuf, &Stamp)) -> serde_json::Value {
    json!({"raw_event": stamp.to_string(), "file": file.display().to_string()})
}

fn read(file: &Path) -> io::Result<Bytes> {
    if file != Path::new("-") {
        return fs::read(file).map(Bytes::from);
    }
    let mut body = Vec::new();
    io::stdin().read_to_end(&mut body)?;
    Ok(body.into())
}
