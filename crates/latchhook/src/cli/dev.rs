//! `latchhook dev`: as `run`, on a private Postgres and a private Redis; and `dev exec`, a command with both.

use std::{
    ffi::OsString,
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use console::Token;
use secrecy::{ExposeSecret, SecretString};
use vocabulary::MasterKey;

use super::{
    context::Context,
    run::{self, Listen},
    tuning::Tuning,
};
use crate::{
    dev::{self, DATA_DIR, PrivateServers},
    run::{Role, Settings},
};

/// What `dev` may deliver to if nobody says otherwise: this machine.
const LOOPBACK: &str = "127.0.0.0/8,::1/128";

/// Run everything on a private Postgres and Redis, kept in a directory
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Dev {
    #[command(subcommand)]
    command: Option<Command>,

    /// Where the servers keep their data
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,

    #[command(flatten)]
    listen: Listen,

    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command with both servers up and migrated, and DATABASE_URL and REDIS_URL set; ends with its status
    Exec {
        /// Where the servers keep their data
        #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
        data_dir: PathBuf,
        /// In memory where there is room, empty, and gone afterwards: for tests
        #[arg(long, conflicts_with = "data_dir")]
        scratch: bool,
        /// What to run
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

impl Dev {
    /// Runs it. Says what the process is to end with.
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<u8> {
        match self.command {
            None => serve(context, &self.data_dir, self.listen, &self.tuning).await.map(|()| 0),
            Some(Command::Exec { data_dir, scratch, command }) => {
                let servers = if scratch { PrivateServers::scratch()? } else { PrivateServers::start(&data_dir)? };
                database::migrate(&servers.database_url()).await?;
                let name = command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
                let status = dev::exec(&servers, &command).await.with_context(|| format!("cannot run {name}"))?;
                Ok(dev::exit_code(status))
            }
        }
    }
}

async fn serve(context: &mut Context<'_>, data_dir: &Path, mut listen: Listen, tuning: &Tuning) -> anyhow::Result<()> {
    let servers = PrivateServers::start(data_dir)?;
    database::migrate(&servers.database_url()).await?;
    use_servers(context, &servers)?;
    let token = make_token(&mut listen, servers.directory())?;
    let settings = Settings { console: listen.console()?, ..run::settings(context, listen.listen, tuning)? };
    context.note(&format!(
        "in another terminal: export DATABASE_URL='{}' REDIS_URL='{}' LATCHHOOK_MASTER_KEY=\"$(cat '{}')\"{token} \
         LATCHHOOK_ALLOW_PRIVATE_ENDPOINTS='{LOOPBACK}'",
        servers.database_url(),
        servers.redis_url(),
        key_file(servers.directory()).display(),
    ));
    run::until_told_to_stop(context, &settings, &Role::ALL).await
}

/// Makes a token for the console's API if none is given; says what to export of it in another terminal.
fn make_token(listen: &mut Listen, directory: &Path) -> anyhow::Result<String> {
    if listen.token().is_some() {
        return Ok(String::new());
    }
    let path = directory.join("api.token");
    listen.api_token = Some(kept(&path, Token::generate)?);
    Ok(format!(" LATCHHOOK_API_TOKEN=\"$(cat '{}')\"", path.display()))
}

/// Points the settings at private servers; makes a master key beside them if none is given.
pub(super) fn use_servers(context: &mut Context<'_>, servers: &PrivateServers) -> anyhow::Result<()> {
    let settings = &mut context.settings;
    settings.database_url = Some(servers.database_url().into());
    settings.redis_url = Some(servers.redis_url().into());
    if settings.allow_private_endpoints.is_none() {
        settings.allow_private_endpoints = Some(LOOPBACK.parse()?);
    }
    if settings.master_key.is_none() {
        settings.master_key = Some(kept(&key_file(servers.directory()), MasterKey::generate)?);
    }
    Ok(())
}

fn key_file(directory: &Path) -> PathBuf {
    directory.join("master.key")
}

/// A secret of this directory: made once, readable by its owner alone.
fn kept(path: &Path, make: impl FnOnce() -> SecretString) -> anyhow::Result<SecretString> {
    if let Ok(secret) = fs::read_to_string(path) {
        return Ok(secret.trim().into());
    }
    let secret = make();
    let cannot = || format!("cannot keep a secret in {}", path.display());
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(cannot)?;
    file.write_all(secret.expose_secret().as_bytes()).with_context(cannot)?;
    Ok(secret)
}
