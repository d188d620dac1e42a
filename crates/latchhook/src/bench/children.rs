//! Processes of the bench's own: more of this executable, which tell what they have to tell in lines of JSON.

use std::{env, process::Stdio};

use anyhow::{Context, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// A process that listens. Ends when dropped, and with us.
pub(super) struct Listening {
    /// Where.
    pub(super) address: String,
    /// Holds its standard input, whose end is its own, and what it tells at its end, which only whoever runs it by hand reads.
    process: Child,
}

#[derive(Deserialize)]
struct Address {
    address: String,
}

impl Listening {
    /// Starts `latchhook bench` with these words, and waits until it tells where it listens.
    ///
    /// # Errors
    /// When it ends before that.
    pub(super) async fn start(words: &[&str]) -> anyhow::Result<Self> {
        let mut process = command(words)?.spawn().context("cannot run latchhook again")?;
        let stdout = process.stdout.as_mut().context("a child has a standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        let Address { address } =
            serde_json::from_str(&line).with_context(|| format!("bench {} did not start", words[0]))?;
        Ok(Self { address, process })
    }

    /// Has it end.
    ///
    /// # Errors
    /// When it failed, which it has said on stderr.
    pub(super) async fn ends(mut self) -> anyhow::Result<()> {
        drop(self.process.stdin.take());
        let status = self.process.wait().await?;
        ensure!(status.success(), "a process of the bench failed ({status})");
        Ok(())
    }

    /// How it ended, if it has: for whoever gets no answer any more.
    pub(super) fn fate(&mut self) -> String {
        match self.process.try_wait() {
            Ok(Some(status)) => format!("it has ended ({status})"),
            _ => "it still runs".to_owned(),
        }
    }

    /// The number of its process.
    pub(super) fn pid(&self) -> u32 {
        self.process.id().unwrap_or_default()
    }
}

/// Runs `latchhook bench` with these words to its end; gives what it told.
///
/// # Errors
/// When it failed, which it has said on stderr.
pub(super) async fn told<T: DeserializeOwned>(words: &[&str]) -> anyhow::Result<T> {
    let process = command(words)?.spawn().context("cannot run latchhook again")?;
    let ended = process.wait_with_output().await?;
    ensure!(ended.status.success(), "bench {} failed ({})", words[0], ended.status);
    Ok(serde_json::from_slice(&ended.stdout)?)
}

fn command(words: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("bench").args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    Ok(command)
}
