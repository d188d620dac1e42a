//! `latchhook quarantine`: what could not be processed, kept whole.
//!
//! The cast: [`look`] shows it, [`repair`] has it processed again or gives it up, [`selection`] says which of it.

use clap::Subcommand;

mod groups;
mod look;
mod repair;
mod selection;

use self::{
    look::{List, Show},
    repair::{Discard, Replay},
};
use super::context::Context;

/// What could not be processed, kept whole
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List what is open, grouped by reason
    List(List),
    /// Show one with its whole raw event
    Show(Show),
    /// Process some again, by the same code as ever
    Replay(Replay),
    /// Give some up, for a reason that is kept
    Discard(Discard),
}

/// Runs it.
pub(super) async fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::List(list) => list.run(context).await,
        Command::Show(show) => show.run(context).await,
        Command::Replay(replay) => replay.run(context).await,
        Command::Discard(discard) => discard.run(context).await,
    }
}
