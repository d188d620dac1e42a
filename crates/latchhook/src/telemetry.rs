//! Logs: to stderr, for people at a terminal, and as JSON, one object a line, for machines elsewhere.

use std::{
    error::Error,
    fmt::{self, Debug},
    io::IsTerminal,
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};
use vocabulary::chain;

/// Begins to log what `filter` lets through (`LATCHHOOK_LOG`).
///
/// # Errors
/// When the filter cannot be read.
pub(crate) fn start(filter: &str) -> anyhow::Result<()> {
    let wrong = || format!("LATCHHOOK_LOG is no filter: {filter:?}; write info, or worker=debug,info");
    let filter = EnvFilter::try_new(filter).with_context(wrong)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let for_people = std::io::stderr().is_terminal();
    let started = if for_people { logs.try_init() } else { logs.json().map_event_format(WithSources).try_init() };
    // A second command in the same process (a test) goes on with the first one's.
    if let Err(error) = started {
        tracing::debug!(error = &*error as &dyn Error, "logs were started before");
    }
    Ok(())
}

/// JSON in which an error is told with its sources: tracing-subscriber's has the outermost alone, which seldom says what is
/// wrong. Its text has them all.
struct WithSources<Json>(Json);

impl<S, N, Json> FormatEvent<S, N> for WithSources<Json>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    Json: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut errors = Errors::default();
        event.record(&mut errors);
        if errors.0.is_empty() {
            return self.0.format_event(context, out, event);
        }
        let mut text = String::new();
        self.0.format_event(context, Writer::new(&mut text), event)?;
        let mut line: Line = serde_json::from_str(&text).map_err(|_| fmt::Error)?;
        line.fields.extend(errors.0);
        writeln!(out, "{}", serde_json::to_string(&line).map_err(|_| fmt::Error)?)
    }
}

/// A line, in the order in which it is written.
#[derive(Serialize, Deserialize)]
struct Line {
    timestamp: Value,
    level: Value,
    fields: Map<String, Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The fields of an event that are errors, each with its sources.
#[derive(Default)]
struct Errors(Map<String, Value>);

impl Visit for Errors {
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}

    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        self.0.insert(field.name().to_owned(), chain(error).into());
    }
}
