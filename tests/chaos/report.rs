//! What is printed of an act.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{fleet::Fleet, judge::Verdict, lock::lock};

/// How many breaches of a promise are printed; the rest are counted.
const NAMED: usize = 10;
/// No process of the fleet needs more, whatever piles up before it.
const MOST_MEMORY: u64 = 128 << 20;

/// The verdicts, and the figures beside them.
#[derive(Debug, Default)]
pub(crate) struct Report {
    verdicts: Vec<Verdict>,
    figures: Vec<String>,
}

impl Report {
    /// Of an act.
    pub(crate) fn new(
        verdicts: Vec<Verdict>,
        faults: BTreeMap<&'static str, usize>,
        memory: BTreeMap<String, u64>,
        lasted: Duration,
        drained_in: Duration,
        stream: String,
    ) -> Self {
        let faults: Vec<_> = faults.iter().map(|(class, count)| format!("{class} {count}")).collect();
        let in_mib: Vec<_> = memory.iter().map(|(stage, bytes)| format!("{stage} {} MiB", bytes >> 20)).collect();
        let too_much = memory.iter().filter(|(_, bytes)| **bytes > MOST_MEMORY);
        let breaches = too_much.map(|(stage, bytes)| format!("a {stage} had {} MiB", bytes >> 20)).collect();
        let bounded = Verdict { promise: "memory is bounded", breaches, of: in_mib.join(", ") };
        let figures = vec![
            stream,
            format!("faults injected: {}", faults.join(", ")),
            format!(
                "{:.0} s under faults, all ended {:.0} s after the healing",
                lasted.as_secs_f64(),
                drained_in.as_secs_f64()
            ),
        ];
        Self { verdicts: verdicts.into_iter().chain([bounded]).collect(), figures }
    }

    /// Of the fleet's end.
    pub(crate) fn of_the_end(fleet: &Fleet) -> Self {
        let mut report = Self::default();
        let surprises = lock(&fleet.surprises);
        report.must_not_be("no process ended by itself, or panicked, and all drained", &surprises);
        report
    }

    /// Adds a promise that these break.
    pub(crate) fn must_not_be(&mut self, promise: &'static str, breaches: &[String]) {
        self.verdicts.push(Verdict { promise, breaches: breaches.to_vec(), of: String::new() });
    }

    /// Whether every promise held.
    pub(crate) fn held(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.breaches.is_empty())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for figure in &self.figures {
            writeln!(f, "{figure}")?;
        }
        for Verdict { promise, breaches, of } in &self.verdicts {
            writeln!(f, "{:4}  {promise}  {of}", if breaches.is_empty() { "held" } else { "NO" })?;
            for breach in breaches.iter().take(NAMED) {
                writeln!(f, "        {breach}")?;
            }
            if breaches.len() > NAMED {
                writeln!(f, "        and {} more", breaches.len() - NAMED)?;
            }
        }
        Ok(())
    }
}
