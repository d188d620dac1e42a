//! All runs, as tables for people and as JSON for scripts.

mod median;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::{
    case::{Case, QUEUED},
    machine::Machine,
    neighbours::{RETRIES, Round},
    refusal::Refusal,
    run::{AtRate, Run},
    subject::Subject,
    tenants::Crowd,
};
use median::{fields, median};

/// What a raw event meets once it is queued.
const BEHIND_THE_QUEUE: [&str; 4] = ["stages: worker", "stages: dispatcher", "redis", "postgres"];

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) machine: Machine,
    /// In the order of measuring.
    pub(super) runs: Vec<Run>,
    #[serde(skip)]
    pub(super) cases: Vec<Case>,
}

/// The runs of one subject in one case.
pub(super) struct Row<'a> {
    pub(super) case: &'a Case,
    pub(super) subject: Subject,
    pub(super) runs: Vec<&'a Run>,
}

impl Report {
    /// Whether every run was right.
    pub(crate) fn is_right(&self) -> bool {
        self.runs.iter().all(|run| run.wrong.is_empty())
    }

    /// One row for each case and subject.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let pairs = self.cases.iter().flat_map(|case| [(case, Subject::Latchhook), (case, Subject::Ceiling)]);
        pairs.filter_map(|(case, subject)| {
            let is_of = |run: &&Run| run.case == case.name && run.subject == subject;
            let runs: Vec<_> = self.runs.iter().filter(is_of).collect();
            (!runs.is_empty()).then_some(Row { case, subject, runs })
        })
    }

    fn throughput(&self) -> Table {
        let header = [
            "case",
            "",
            "events/s",
            "deliveries/s",
            "µs CPU/event",
            "stages",
            "Redis",
            "Postgres",
            "WAL B/event",
            "cores of others",
        ];
        let mut table = table(&header, 2);
        for row in self.rows() {
            let cpu = |who: &'static str| row.median(move |run| run.cpu_of(who));
            table.add_row([
                row.case.name.clone(),
                row.subject.name().to_owned(),
                format!("{:.0}{}", row.median(|run| run.events_per_second), row.spread()),
                format!("{:.0}", row.median(|run| run.deliveries_per_second)),
                format!("{:.1}", row.median(|run| run.cpu_us.values().sum())),
                format!("{:.1}", cpu("stages")),
                format!("{:.1}", cpu("redis")),
                format!("{:.1}", cpu("postgres")),
                format!("{:.0}", row.median(|run| run.wal_bytes)),
                format!("{:.2}", row.median(|run| run.cores_of_others)),
            ]);
        }
        table
    }

    /// Where the CPU time goes, what is done at once, and what it takes in memory.
    fn parts(&self) -> Table {
        let mut table = table(&["case", "", "µs CPU/event", "at once", "memory, MiB"], usize::MAX);
        for row in self.rows() {
            let cpu = fields(&row.runs, |run| &run.cpu_us);
            let cpu = cpu.iter().filter(|(_, used)| *used >= 0.05).map(|(who, used)| format!("{who} {used:.1}"));
            let groups = fields(&row.runs, |run| &run.groups);
            let groups = groups.iter().map(|(what, size)| format!("{size:.1} {what}"));
            let memory = row.runs[0].memory.iter().map(|(who, bytes)| format!("{who} {}", bytes >> 20));
            table.add_row([
                row.case.name.clone(),
                row.subject.name().to_owned(),
                cpu.collect::<Vec<_>>().join("\n"),
                groups.collect::<Vec<_>>().join("\n"),
                memory.collect::<Vec<_>>().join("\n"),
            ]);
        }
        table
    }

    fn latency(&self) -> Table {
        let mut table = table(&["case", "", "rate", "events/s", "p50 ms", "p99 ms", "max ms"], 3);
        for row in self.rows() {
            for (place, at) in row.runs[0].at_rates.iter().enumerate() {
                let of = |pick: fn(&AtRate) -> f64| row.median(|run| run.at_rates.get(place).map_or(0.0, pick));
                table.add_row([
                    row.case.name.clone(),
                    row.subject.name().to_owned(),
                    at.part.map_or("idle".to_owned(), |part| format!("{:.0} %", part * 100.0)),
                    format!("{:.0}", of(|at| at.rate)),
                    format!("{:.2}", of(|at| at.delivery.p50_us as f64 / 1000.0)),
                    format!("{:.2}", of(|at| at.delivery.p99_us as f64 / 1000.0)),
                    format!("{:.1}", of(|at| at.delivery.max_us as f64 / 1000.0)),
                ]);
            }
        }
        table
    }

    /// What the stages use while there is nothing to do.
    fn idle(&self) -> Vec<String> {
        let measured = self.rows().filter(|row| !row.runs[0].idle_cpu.is_empty());
        let line = |row: Row<'_>| {
            let threads = fields(&row.runs, |run| &run.idle_cpu);
            let threads: Vec<_> = threads.iter().map(|(name, used)| format!("{name} {used:.1}")).collect();
            let (case, subject) = (&row.case.name, row.subject.name());
            format!("idle, in thousandths of a core: {case}, {subject}: {}", threads.join(", "))
        };
        measured.map(line).collect()
    }

    /// How far latchhook is from the ceiling.
    fn ratios(&self) -> Vec<String> {
        let rows: Vec<_> = self.rows().collect();
        let pairs = rows.windows(2).filter(|pair| pair[0].case == pair[1].case);
        let line = |pair: &[Row<'_>]| {
            let ratio = |pick: fn(&Run) -> f64| pair[0].median(pick) / pair[1].median(pick);
            let (speed, cpu) = (ratio(|run| run.events_per_second), ratio(|run| run.cpu_us.values().sum()));
            format!(
                "{}: latchhook has {speed:.2} × the ceiling's events/s, at {cpu:.2} × its CPU time",
                pair[0].case.name
            )
        };
        pairs.map(line).collect()
    }

    /// What a duplicate costs behind the queue, by what the shares of duplicates make of it: `cost(share) = (1 - share) × new
    /// + share × duplicate`.
    fn duplicate(&self) -> Option<String> {
        let of_share = |row: &Row<'_>| (row.case.duplicates, row.median(Run::behind_the_queue));
        let rows = self.rows().filter(|row| row.case.name.starts_with(QUEUED));
        let mut shares: Vec<_> = rows.map(|row| of_share(&row)).collect();
        shares.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (&(none, new), &(share, cost)) = (shares.first()?, shares.last()?);
        if none > 0.0 || share == 0.0 {
            return None;
        }
        let duplicate = (cost - (1.0 - share) * new) / share;
        let part = duplicate / new;
        Some(format!("behind the queue a duplicate costs {part:.2} × a new event ({duplicate:.1} µs against {new:.1})"))
    }

    /// What a forged request costs.
    fn refusals(&self) -> Vec<String> {
        let measured = self.rows().filter(|row| row.runs[0].refusal.is_some());
        let line = |row: Row<'_>| {
            let of = |pick: fn(&Refusal) -> f64| row.median(|run| run.refusal.as_ref().map_or(0.0, pick));
            let (forged, bare) = (of(|refusal| refusal.forged_us), of(|refusal| refusal.bare_us));
            let (case, times) = (&row.case.name, of(Refusal::ratio));
            format!(
                "{case}: a forged request costs {times:.2} × a bare 401 ({forged:.1} µs of the server against {bare:.1})"
            )
        };
        measured.map(line).collect()
    }

    /// What neighbours that hang, refuse, and have thousands of retries due do to an endpoint that answers.
    fn fairness(&self) -> Vec<String> {
        let line = |row: Row<'_>| {
            let measured: Vec<_> = row.runs.iter().filter_map(|run| run.fairness.as_ref()).collect();
            if measured.is_empty() {
                return None;
            }
            let rounds: Vec<Round> = measured.iter().flat_map(|fair| fair.rounds.clone()).collect();
            let rate = median(measured.iter().map(|fair| fair.rate).collect());
            let times = median(rounds.iter().map(Round::times).collect());
            Some(format!(
                "{}: beside one that hangs, one that refuses and {RETRIES} retries, p99 at {rate:.0} events/s is {times:.2} × \
                 what it is alone (wanted: 2 at most), by the median of {} rounds: {}",
                row.case.name,
                rounds.len(),
                rounds.iter().map(told).collect::<Vec<_>>().join(", "),
            ))
        };
        self.rows().filter_map(line).collect()
    }

    /// What many sources cost.
    fn crowds(&self) -> Vec<String> {
        let measured = self.rows().filter(|row| row.runs[0].crowd.is_some());
        let line = |row: Row<'_>| {
            let of = |pick: fn(&Crowd) -> f64| {
                median(row.runs.iter().filter_map(|run| run.crowd.as_ref()).map(pick).collect())
            };
            format!(
                "{}: with {:.0} sources, one that was added was known to the producer after {:.1} s; all of them are read in {:.2} s",
                row.case.name,
                of(|crowd| crowd.sources as f64),
                of(|crowd| crowd.known_after),
                of(|crowd| crowd.read_in),
            )
        };
        measured.map(line).collect()
    }

    fn wrong(&self) -> Vec<String> {
        let of = |run: &Run| {
            let (case, subject) = (run.case.clone(), run.subject.name());
            run.wrong.iter().map(|what| format!("WRONG: {case}, {subject}: {what}")).collect::<Vec<_>>()
        };
        self.runs.iter().flat_map(of).collect()
    }
}

impl Row<'_> {
    /// The median of what is picked from each run.
    pub(super) fn median(&self, pick: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(|run| pick(run)).collect())
    }

    /// The slowest and the fastest run, where there are several.
    fn spread(&self) -> String {
        let rates = || self.runs.iter().map(|run| run.events_per_second);
        let (least, most) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
        if self.runs.len() > 1 { format!(" ({least:.0}–{most:.0})") } else { String::new() }
    }
}

impl Run {
    /// CPU time by event of all parts whose names begin so.
    fn cpu_of(&self, who: &str) -> f64 {
        part(&self.cpu_us, who)
    }

    /// CPU time by event of what works behind the queue, once all is in it.
    fn behind_the_queue(&self) -> f64 {
        BEHIND_THE_QUEUE.iter().map(|who| part(&self.behind_us, who)).sum()
    }
}

fn part(used: &BTreeMap<String, f64>, who: &str) -> f64 {
    used.iter().filter(|(name, _)| name.starts_with(who)).map(|(_, used)| used).sum()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(f, "{}\n\n{}", self.throughput(), self.parts())?;
        if self.runs.iter().any(|run| !run.at_rates.is_empty()) {
            writeln!(f, "\n{}", self.latency())?;
        }
        if self.runs.iter().any(|run| run.cores_of_others > 0.3) {
            writeln!(f, "Where others had more than 0.3 cores, rates are worth little, and CPU times are too high.")?;
        }
        for line in [
            self.idle(),
            self.ratios(),
            self.duplicate().into_iter().collect(),
            self.refusals(),
            self.fairness(),
            self.crowds(),
            self.wrong(),
        ]
        .concat()
        {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

/// p99 beside neighbours, alone, and how many times the one is the other.
fn told(round: &Round) -> String {
    let [beside, alone] = [round.beside, round.alone].map(|latency| latency.p99_us as f64 / 1000.0);
    format!("{beside:.1} ms against {alone:.1} ({:.2})", round.times())
}

/// Columns from `numbers` on are aligned as numbers are.
fn table(header: &[&str], numbers: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    for column in table.column_iter_mut().skip(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
