//! `latchhook bench`: how fast, at which cost, and whether it was right.
//!
//! The cast: the *sender* ([`send`]) and the *customer* ([`receive`]) are processes of their own, made so cheap that they
//! measure and do not compete. A *subject* stands between them: latchhook, or the same pipeline made by hand, or (through
//! the hidden subcommands) anything else that takes signed webhooks and delivers some. A *case* says what is sent, over
//! which stores; a *run* is one subject in one case, over stores of its own or those that were filled for it, and ends with a
//! judgement; the *report* is all runs.

mod case;
pub(crate) mod ceiling;
mod chart;
mod children;
mod clock;
mod customer;
pub(crate) mod delay;
mod histogram;
mod judge;
mod machine;
mod neighbours;
pub(crate) mod one_thread;
mod payload;
mod preload;
pub(crate) mod receive;
mod refusal;
mod report;
mod run;
pub(crate) mod send;
mod stores;
mod stream;
mod subject;
mod tenants;
mod usage;
mod wire;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context;

use crate::run::Settings;
use case::Sides;
use customer::Customer;
use machine::Machine;
pub(crate) use report::Report;
use run::Thoroughness;
use stores::Stores;
use subject::Subject;

/// How long each rate is held.
const HOLD: Duration = Duration::from_secs(10);
const QUICK_HOLD: Duration = Duration::from_secs(1);

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    sides: Sides,
    /// Measure the pipeline made by hand beside latchhook, in turns
    #[arg(long)]
    ceiling: bool,
    /// How often each is measured; the report has the medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// See whether everything runs, in seconds; the figures are worth nothing
    #[arg(long)]
    quick: bool,
    /// Measure no latency at given rates, nor what idling and refusing cost
    #[arg(long)]
    no_latency: bool,
    /// Write everything that was measured to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Draw it into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Measures all of it, in private stores below this directory; `settings` are those of the stages, but for the stores.
///
/// # Errors
/// When it could not be measured to its end. What was wrong is in the report.
pub(crate) async fn bench(settings: &Settings, options: &Options, directory: PathBuf) -> anyhow::Result<Report> {
    let cases = options.sides.cases(options.quick)?;
    stores::forget(&directory)?;
    let mut customer = Customer::start().await?;
    let machine = machine(settings, &cases[0], &directory).await?;
    let mut report = Report { machine, runs: Vec::new(), cases };
    let subjects = if options.ceiling { vec![Subject::Latchhook, Subject::Ceiling] } else { vec![Subject::Latchhook] };
    // In turns, so that whatever else the machine does meets all of them.
    for turn in 0..options.runs {
        for case in &report.cases {
            for subject in subjects.iter().filter(|subject| subject.can(case)) {
                eprintln!("{}, {}, run {} of {}", case.name, subject.name(), turn + 1, options.runs);
                let thoroughness = Thoroughness { hold: options.hold(&case.name) };
                let run = run::run(*subject, case, settings, &directory, &mut customer, thoroughness).await;
                report.runs.push(run.with_context(|| format!("{}, {}", case.name, subject.name()))?);
            }
        }
    }
    options.save(&report)?;
    Ok(report)
}

async fn machine(settings: &Settings, case: &case::Case, directory: &std::path::Path) -> anyhow::Result<Machine> {
    let stores = Stores::start(directory, &case::Case { latency: Duration::ZERO, ..case.clone() }).await?;
    Ok(Machine::look(stores.versions(&settings.prefix).await?))
}

impl Options {
    /// Latency takes most of the time, and is asked for in the base case, where round trips are longer, and of neighbours.
    fn hold(&self, case: &str) -> Duration {
        let asked = ["base", "latency-ms", "tenants", "neighbours"].iter().any(|name| case.starts_with(name));
        match (asked && !self.no_latency, self.quick) {
            (false, _) => Duration::ZERO,
            (true, true) => QUICK_HOLD,
            (true, false) => HOLD,
        }
    }

    fn save(&self, report: &Report) -> anyhow::Result<()> {
        let written = |file: &PathBuf, text: String| {
            fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
        };
        if let Some(file) = &self.report {
            written(file, serde_json::to_string_pretty(report)?)?;
        }
        self.svg.as_ref().map_or(Ok(()), |file| written(file, chart::svg(report)))
    }
}
