//! How a command ends when it fails: a status, and one line that says what is wrong and what to do.

use std::{error::Error, fmt};

use clap::error::ErrorKind;

/// A command that did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// What the process ends with: 2 when the command line is wrong, else 1.
    pub status: u8,
    line: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "latchhook: {}", self.line)
    }
}

impl From<anyhow::Error> for Failure {
    /// That a command line is wrong may show only when what it names is read.
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<clap::Error>() {
            Ok(wrong) => wrong.into(),
            Err(error) => Self { status: 1, line: chain(error.as_ref()) },
        }
    }
}

/// clap tells a usage error in paragraphs. The first ones say what is wrong; usage and help follow.
impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        let text = error.render().to_string();
        let what = text.split("\n\nUsage:").next().unwrap_or_default();
        let what = what.split("\n\nFor more information").next().unwrap_or_default();
        let parts: Vec<_> = what.trim_start_matches("error: ").split("\n\n").map(one_line).collect();
        Self { status: 2, line: format!("{}; see --help", parts.join("; ")) }
    }
}

/// Whether clap stopped because it was asked to show something, which is no failure.
pub(super) fn is_help(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

/// An error and its causes. Some libraries repeat the cause in their own words: what stands there already is left out.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = one_line(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = one_line(&error.to_string());
        if !text.is_empty() && !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    if line.contains("relation \"latchhook_outbox\" does not exist") {
        format!("{line}; make it in the app's database, with what this prints: latchhook outbox sql")
    } else if is_without_schema(&line) {
        format!("{line}; bring the schema up to date: latchhook migrate")
    } else {
        line
    }
}

fn is_without_schema(line: &str) -> bool {
    ["relation \"", "column \""].iter().any(|what| line.contains(what)) && line.contains("\" does not exist")
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|char| !char.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use clap::Parser;

    use super::*;

    #[test]
    fn a_failure_is_one_line_that_tells_every_cause_once() {
        let cause = anyhow!("connection refused\n(os error 111)");
        let middle = cause.context("error connecting to server: connection refused (os error 111)");

        let failure = Failure::from(middle.context("Postgres gives no connection"));

        let line =
            "latchhook: Postgres gives no connection: error connecting to server: connection refused (os error 111)";
        assert_eq!((failure.status, failure.to_string().as_str()), (1, line));
    }

    #[test]
    fn a_database_without_tables_says_which_command_makes_them() {
        let failure = Failure::from(anyhow!("relation \"sources\" does not exist"));

        assert!(failure.to_string().ends_with("; bring the schema up to date: latchhook migrate"));
    }

    #[test]
    fn an_apps_database_without_the_table_says_which_command_prints_it() {
        let failure = Failure::from(anyhow!("relation \"latchhook_outbox\" does not exist"));

        assert!(failure.to_string().ends_with(": latchhook outbox sql"), "{failure}");
    }

    #[test]
    fn a_wrong_command_line_ends_in_one_line_too_with_status_2() {
        let wrong = super::super::Cli::try_parse_from(["latchhook", "source", "add", "--provider", "whatsapp"]);

        let failure = Failure::from(wrong.unwrap_err());

        let line = failure.to_string();
        assert_eq!((failure.status, line.lines().count()), (2, 1), "{line}");
        assert!(line.contains("--account <A>") && line.ends_with("; see --help"), "{line}");
    }
}
