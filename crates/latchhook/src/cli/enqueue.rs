//! `latchhook enqueue`: raw events from files, each file one body, as if a source had sent them. No signature is asked for:
//! whoever may write to Redis may enqueue.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::Args;
use database::sources;
use queue::Inbound;
use serde_json::json;
use vocabulary::{Job, RawEvent, SourceId};

use super::context::Context;

/// So many files make one push to Redis.
const TOGETHER: usize = 100;

/// What to enqueue, and in whose name.
#[derive(Debug, Args)]
pub(super) struct Enqueue {
    /// The source that they are from
    #[arg(long, value_name = "ID")]
    source: SourceId,
    /// Files, each of them one body; - for stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Enqueue {
    /// Runs it. Every file is read before anything is enqueued.
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        self.must_exist(context).await?;
        let bodies = self.files.iter().map(|file| body(file)).collect::<anyhow::Result<Vec<_>>>()?;
        let inbound = Inbound::new(&context.redis().await?);
        let mut stamps = Vec::with_capacity(bodies.len());
        for bodies in bodies.chunks(TOGETHER) {
            let jobs: Vec<Job> = bodies.iter().map(|body| self.job(body, context)).collect();
            stamps.extend(inbound.enqueue(&jobs).await.with_context(|| format!("{} were enqueued", stamps.len()))?);
        }
        let rows: Vec<_> = self.files.iter().zip(&stamps).map(row).collect();
        context.out.list(&["raw_event", "file"], &rows)
    }

    async fn must_exist(&self, context: &Context<'_>) -> anyhow::Result<()> {
        let sources = sources::list(&*context.postgres().await?).await?;
        let source = sources.iter().find(|source| source.id == self.source.as_str());
        let source = source.with_context(|| format!("there is no source {}: add it first", self.source))?;
        ensure!(source.enabled, "source {0} is disabled: latchhook source enable {0}", self.source);
        Ok(())
    }

    fn job(&self, body: &Bytes, context: &Context<'_>) -> Job {
        let (source_id, body) = (self.source.clone(), body.clone());
        Job::of([RawEvent { source_id, received_at: context.now, headers: Vec::new(), body }])
    }
}

fn row((file, stamp): (&PathBuf, &vocabulary::Stamp)) -> serde_json::Value {
    json!({"raw_event": stamp.to_string(), "file": file.display().to_string()})
}

fn body(file: &Path) -> anyhow::Result<Bytes> {
    let read = if file == Path::new("-") {
        let mut body = Vec::new();
        io::stdin().read_to_end(&mut body).map(|_| body)
    } else {
        fs::read(file)
    };
    Ok(read.with_context(|| format!("{} cannot be read, nothing was enqueued", file.display()))?.into())
}
