//! The command line: one file a noun, and what they share.
//!
//! `Settings` come from flags or the environment; a `Context` holds them with the two stores; `Output` prints data to
//! stdout; a [`Failure`] is the one line on stderr and the status that a process ends with.

use std::{ffi::OsString, io::Write};

use chrono::Utc;
use clap::{Parser, Subcommand};
use futures::future::LocalBoxFuture;

mod account;
pub(crate) mod audit;
mod bench;
mod context;
mod deliveries;
mod demo;
mod dev;
mod doctor;
mod endpoint;
mod enqueue;
mod events;
mod failure;
mod http;
mod listen;
mod master_key;
mod migrate;
mod outbox;
mod output;
mod providers;
mod quarantine;
mod run;
mod schedule;
mod secret;
mod sentence;
mod settings;
mod since;
mod source;
mod tuning;

pub use failure::Failure;
use settings::Settings;

use crate::telemetry;

/// Takes in webhooks that repeat themselves, records each message once, and tells your endpoints of it
#[derive(Debug, Parser)]
#[command(name = "latchhook", version)]
struct Cli {
    #[command(flatten)]
    settings: Settings,

    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

/// What latchhook can be told to do.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Dev(dev::Dev),
    Demo(demo::Demo),
    Bench(bench::Bench),
    /// Bring the schema of Postgres up to date
    Migrate,
    #[command(subcommand)]
    Account(account::Command),
    #[command(subcommand)]
    Source(source::Command),
    Providers(providers::Providers),
    #[command(subcommand)]
    Endpoint(endpoint::Command),
    #[command(subcommand)]
    MasterKey(master_key::Command),
    #[command(subcommand)]
    Events(events::Command),
    #[command(subcommand)]
    Deliveries(deliveries::Command),
    Listen(listen::Listen),
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    Audit(audit::Audit),
    /// Check Redis, Postgres and the settings, and say what to do; status 1 if anything fails
    Doctor,
    /// Put raw events from files into the queue
    Enqueue(enqueue::Enqueue),
    #[command(subcommand)]
    Outbox(outbox::Command),
}

/// Does what the command line says; data goes to `out`. Gives what the process is to end with: 0, or the status of the
/// command that `dev exec` ran.
///
/// # Errors
/// When it could not; or when a check (`audit`, `doctor`) found what it looked for.
pub async fn run<I, T>(arguments: I, out: &mut (dyn Write + Send)) -> Result<u8, Failure>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    run_boxed(arguments.into_iter().map(Into::into).collect(), out).await
}

/// In a box, so that all that it does is compiled once, here, and not once more in each program that runs it.
fn run_boxed<'a>(arguments: Vec<OsString>, out: &'a mut (dyn Write + Send)) -> LocalBoxFuture<'a, Result<u8, Failure>> {
    Box::pin(do_run(arguments, out))
}

async fn do_run(arguments: Vec<OsString>, out: &mut (dyn Write + Send)) -> Result<u8, Failure> {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(asked) if failure::is_help(&asked) => {
            let text = asked.render().to_string();
            output::Output::new(false, out).text(text.trim_end())?;
            return Ok(0);
        }
        Err(wrong) => return Err(wrong.into()),
    };
    telemetry::start(&cli.settings.log)?;
    let out = output::Output::new(cli.json, out);
    let mut context = context::Context { settings: cli.settings, out, now: Utc::now() };
    Ok(cli.command.run(&mut context).await?)
}

impl Command {
    async fn run(self, context: &mut context::Context<'_>) -> anyhow::Result<u8> {
        match self {
            Self::Dev(dev) => return dev.run(context).await,
            Self::Run(run) => run.run(context).await,
            Self::Demo(demo) => demo.run(context).await,
            Self::Bench(bench) => bench.run(context).await,
            Self::Migrate => migrate::run(context).await,
            Self::Account(command) => account::run(command, context).await,
            Self::Source(command) => source::run(command, context).await,
            Self::Providers(providers) => providers.run(context),
            Self::Endpoint(command) => endpoint::run(command, context).await,
            Self::MasterKey(command) => master_key::run(command, context).await,
            Self::Events(command) => events::run(command, context).await,
            Self::Deliveries(command) => deliveries::run(command, context).await,
            Self::Listen(listen) => listen.run(context).await,
            Self::Quarantine(command) => quarantine::run(command, context).await,
            Self::Audit(audit) => audit.run(context).await,
            Self::Doctor => doctor::run(context).await,
            Self::Enqueue(enqueue) => enqueue.run(context).await,
            Self::Outbox(command) => outbox::run(command, context).await,
        }
        .map(|()| 0)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_without_contradictions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_shows_no_secret_that_the_environment_holds() {
        fn secret_looking(command: &clap::Command) -> Vec<String> {
            let shown = command.get_arguments().filter(|argument| {
                let name = argument.get_id().as_str();
                let may_hold_one = ["key", "url", "secret", "token"].iter().any(|word| name.contains(word));
                may_hold_one && argument.get_env().is_some() && !argument.is_hide_env_values_set()
            });
            let own = shown.map(|argument| argument.get_id().to_string());
            own.chain(command.get_subcommands().flat_map(secret_looking)).collect()
        }

        assert_eq!(secret_looking(&Cli::command()), Vec::<String>::new());
    }
}
