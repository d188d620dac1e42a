//! Logs: to stderr, for people at a terminal, and as JSON, one object a line, for machines elsewhere.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// Begins to log what `filter` lets through (`LATCHHOOK_LOG`).
///
/// # Errors
/// When the filter cannot be read.
pub(crate) fn start(filter: &str) -> anyhow::Result<()> {
    let wrong = || format!("LATCHHOOK_LOG is no filter: {filter:?}; write info, or worker=debug,info");
    let filter = EnvFilter::try_new(filter).with_context(wrong)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() { logs.try_init() } else { logs.json().try_init() };
    // A second command in the same process (a test) goes on with the first one's.
    if let Err(error) = started {
        tracing::debug!(error = &*error as &dyn std::error::Error, "logs were started before");
    }
    Ok(())
}
