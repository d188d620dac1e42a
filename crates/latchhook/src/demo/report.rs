//! What the demo saw, as a table, and whether every promise held.

use std::{fmt, time::Duration};

use comfy_table::{CellAlignment, Table, presets};
use database::{audit::Sums, listing::Latency};

use super::{customer::Heard, sender::Answers, stream::Stream};
use crate::cli::audit;

/// Everything that was counted, by four who did not ask each other; and what the stream says must come of it.
pub(crate) struct Report {
    pub(super) expected: Stream,
    /// By the sender.
    pub(super) answers: Answers,
    pub(super) sent_for: Duration,
    /// By the workers.
    pub(super) by_claim: u64,
    pub(super) by_ledger: u64,
    /// By Postgres.
    pub(super) sums: Sums,
    pub(super) latency: Latency,
    /// By the customer.
    pub(super) heard: Heard,
    pub(super) audit: audit::Report,
}

/// A promise, and whether it held in this run.
struct Held {
    promise: &'static str,
    held: bool,
    why: String,
}

impl Report {
    /// Whether every promise held.
    pub(crate) fn kept(&self) -> bool {
        self.promises().iter().all(|promise| promise.held)
    }

    fn promises(&self) -> Vec<Held> {
        let (sums, expected) = (&self.sums, &self.expected);
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let broken = self.audit.broken().count();
        vec![
            Held {
                promise: "what was not signed was refused",
                held: self.answers.refused == expected.forged,
                why: format!("{} forged, {} refused", expected.forged, self.answers.refused),
            },
            Held {
                promise: "recorded once",
                held: sums.events == count(expected.keys),
                why: format!("{} different keys sent, {} events recorded", expected.keys, sums.events),
            },
            Held {
                promise: "never lost",
                held: sums.raw_events == count(self.answers.accepted) && sums.quarantined == count(expected.malformed),
                why: format!("{} requests accepted, {} settled", self.answers.accepted, sums.raw_events),
            },
            Held {
                promise: "told once it is true",
                held: sums.delivered == sums.deliveries,
                why: format!("{} owed, {} delivered", sums.deliveries, sums.delivered),
            },
            Held {
                promise: "delivered recognisably",
                held: count(self.heard.by_id.len()) == sums.deliveries && self.heard.forged + self.heard.changed == 0,
                why: format!("the customer knows {} by their ids", self.heard.by_id.len()),
            },
            Held {
                promise: "the audit agrees",
                held: self.audit.kept,
                why: format!("{} checks, {broken} of them broken", self.audit.checks()),
            },
        ]
    }

    fn numbers(&self) -> Vec<(&'static str, String)> {
        let per_second = self.expected.sent as f64 / self.sent_for.as_secs_f64();
        let received =
            format!("{} requests in {:.1} s ({per_second:.0}/s)", self.expected.sent, self.sent_for.as_secs_f64());
        vec![
            ("received", received),
            ("refused", self.answers.refused.to_string()),
            ("recorded", self.sums.events.to_string()),
            ("duplicates dropped by the claim", self.by_claim.to_string()),
            ("duplicates stopped by the ledger", self.by_ledger.to_string()),
            ("quarantined", self.sums.quarantined.to_string()),
            ("delivered", self.sums.delivered.to_string()),
            ("delivered twice", self.heard.twice().to_string()),
            ("from receipt to delivery, p50 / p99", format!("{:.0} / {:.0} ms", self.latency.p50, self.latency.p99)),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = table();
        for (name, value) in self.numbers() {
            numbers.add_row([name.to_owned(), value]);
        }
        if let Some(values) = numbers.column_mut(1) {
            values.set_cell_alignment(CellAlignment::Right);
        }
        let mut promises = table();
        for Held { promise, held, why } in self.promises() {
            promises.add_row([promise.to_owned(), if held { "held" } else { "NO" }.to_owned(), why]);
        }
        writeln!(f, "{numbers}\n\n{promises}")?;
        for finding in self.audit.broken() {
            writeln!(f, "NO: {} ({}): {}", finding.check, finding.breaches, finding.offenders.join(", "))?;
        }
        Ok(())
    }
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table
}
