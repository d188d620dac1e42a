//! `latchhook demo`: `dev` plus a sender and a customer of its own, and the verdict.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;

use super::{context::Context, dev, run, tuning::Tuning};
use crate::{
    demo::{self, Options},
    dev::{DATA_DIR, PrivateServers},
};

/// Replay recorded webhooks with duplicates against all stages, and check every promise
#[derive(Debug, Args)]
pub(super) struct Demo {
    #[command(flatten)]
    options: Options,

    /// Where the servers keep their data; what an earlier demo left there goes
    #[arg(long, value_name = "DIR", default_value_os_t = PathBuf::from(DATA_DIR).join("demo"))]
    data_dir: PathBuf,
}

impl Demo {
    /// Runs it.
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        if self.data_dir.exists() {
            fs::remove_dir_all(&self.data_dir).with_context(|| format!("cannot empty {}", self.data_dir.display()))?;
        }
        context.note("starting a private Postgres and a private Redis");
        let servers = PrivateServers::start(&self.data_dir)?;
        database::migrate(&servers.database_url()).await?;
        dev::use_servers(context, &servers)?;
        let mut settings = run::settings(context, ([127, 0, 0, 1], 0).into(), &Tuning::default())?;
        settings.worker.claims = demo::claims();
        let report = demo::demo(&settings, self.options).await?;
        context.out.text(&report.to_string())?;
        context.note(&format!("what it left can be looked at: latchhook dev --data-dir {}", self.data_dir.display()));
        ensure!(report.kept(), "a promise broke: see the lines marked NO above");
        Ok(())
    }
}
