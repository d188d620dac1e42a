//! What is measured: the base case, and each of its sides varied alone.
//!
//! The full product of all sides would run for a day and be read by nobody; what one side does to the base case is what
//! one asks.

use std::time::Duration;

use anyhow::ensure;

/// One row of the report.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Case {
    /// `base`, or which side is varied, and how.
    pub(super) name: String,
    /// Sent in all, those that are sent again included.
    pub(super) events: u64,
    /// The share of them that repeats earlier ones.
    pub(super) duplicates: f64,
    /// Endpoints of the one account, each of which wants every event.
    pub(super) endpoints: u64,
    /// Events in one request.
    pub(super) items: u64,
    /// How much longer a round trip to either store takes.
    pub(super) latency: Duration,
    /// Whether Redis syncs once a second, instead of before it answers.
    pub(super) every_second: bool,
    /// How many items a stage may work on together, where that is not left to the stages.
    pub(super) group: Option<usize>,
    /// How many raw events share a job, where that is not left to the producer.
    pub(super) per_job: Option<usize>,
    /// Events that Postgres holds already.
    pub(super) preload: u64,
    /// Whether all events are queued before the first worker starts.
    pub(super) backlog: bool,
    /// Accounts beside the one that is measured, with what [`super::tenants`] gives each.
    pub(super) tenants: u64,
    /// Whether it is measured what bad neighbours do to latency, and nothing else that takes long.
    pub(super) neighbours: bool,
}

/// Sides and how they are varied. The base case has the ordinary value of each side, or the first where that is not asked
/// for.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cases")]
pub(crate) struct Sides {
    /// How many events are sent in each run, those that are sent again included [default: 60000, with --quick 600]
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// The share of them that repeat earlier ones
    #[arg(long, value_name = "SHARES", value_delimiter = ',', default_value = "0.2,0,0.8", value_parser = super::send::share)]
    duplicates: Vec<f64>,
    /// How many endpoints want each event
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "1,3,10",
          value_parser = clap::value_parser!(u64).range(1..))]
    endpoints: Vec<u64>,
    /// How many events a request carries
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "1,100",
          value_parser = clap::value_parser!(u64).range(1..=1000))]
    items: Vec<u64>,
    /// How much longer a round trip to Redis and to Postgres takes, in milliseconds
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "0,1")]
    latency_ms: Vec<u64>,
    /// When Redis syncs its log
    #[arg(long, value_name = "WHEN", value_delimiter = ',', default_value = "always")]
    appendfsync: Vec<Sync>,
    /// How many items a stage may work on together; left to the stages if not given
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    group: Vec<usize>,
    /// How many raw events may share a job of the queue; left to the producer if not given
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    per_job: Vec<usize>,
    /// How many events Postgres holds already
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "0")]
    preload: Vec<u64>,
    /// How many events are queued before the first worker starts, to see how fast a backlog is worked off
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    backlog: Vec<u64>,
    /// How many other accounts there are, with ten sources and a hundred endpoints each
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    tenants: Vec<u64>,
    /// Only the cases whose names begin so: base, endpoints, endpoints=3
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
}

/// When Redis syncs its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Sync {
    /// Before it answers, as the promises ask.
    Always,
    /// Once a second: what a dying machine knew last is lost.
    Everysec,
}

/// No duplicates, and many, all events queued before the first worker starts: what a duplicate costs behind the queue.
pub(super) const QUEUED: &str = "queued-duplicates";

const EVENTS: u64 = 60_000;
const QUICK_EVENTS: u64 = 600;

#[cfg(test)]
impl Case {
    /// The base case under another name.
    pub(super) fn example(name: &str) -> Self {
        let latency = Duration::ZERO;
        let (name, duplicates, endpoints, items) = (name.to_owned(), 0.2, 1, 1);
        let (every_second, group, per_job, preload, backlog) = (false, None, None, 0, false);
        let (events, tenants, neighbours) = (EVENTS, 0, false);
        Self {
            name,
            events,
            duplicates,
            endpoints,
            items,
            latency,
            every_second,
            group,
            per_job,
            preload,
            backlog,
            tenants,
            neighbours,
        }
    }
}

impl Sides {
    /// The cases, the base case first.
    ///
    /// # Errors
    /// When `--only` leaves none.
    pub(super) fn cases(&self, quick: bool) -> anyhow::Result<Vec<Case>> {
        let base = self.base(quick);
        let cases: Vec<Case> = std::iter::once(base.clone()).chain(self.varied(&base)).collect();
        let wanted = |case: &Case| self.only.is_empty() || self.only.iter().any(|name| case.name.starts_with(name));
        let names: Vec<_> = cases.iter().map(|case| case.name.clone()).collect();
        let cases: Vec<Case> = cases.into_iter().filter(wanted).collect();
        ensure!(!cases.is_empty(), "--only names none of the cases: {}", names.join(", "));
        Ok(cases)
    }

    fn base(&self, quick: bool) -> Case {
        Case {
            name: "base".to_owned(),
            events: self.events.unwrap_or(if quick { QUICK_EVENTS } else { EVENTS }),
            duplicates: ordinary(&self.duplicates, 0.2),
            endpoints: ordinary(&self.endpoints, 1),
            items: ordinary(&self.items, 1),
            latency: Duration::from_millis(ordinary(&self.latency_ms, 0)),
            every_second: ordinary(&self.appendfsync, Sync::Always) == Sync::Everysec,
            group: None,
            per_job: None,
            preload: ordinary(&self.preload, 0),
            backlog: false,
            tenants: 0,
            neighbours: false,
        }
    }

    fn varied(&self, base: &Case) -> Vec<Case> {
        let duplicates = vary(base, "duplicates", &self.duplicates, |case, share| case.duplicates = share);
        let queued = vary(base, QUEUED, &self.none_and_most(), |case, share| {
            (case.backlog, case.duplicates) = (true, share);
        });
        // As many deliveries as in the base case, or the run would be longer.
        let endpoints = vary(base, "endpoints", &self.endpoints, |case, count| {
            (case.endpoints, case.events) = (count, (base.events * base.endpoints / count).max(1));
        });
        let items = vary(base, "items", &self.items, |case, items| case.items = items);
        let latency = vary(base, "latency-ms", &self.latency_ms, |case, ms| case.latency = Duration::from_millis(ms));
        let seconds = vary(base, "appendfsync", &self.appendfsync, |case, sync| {
            case.every_second = sync == Sync::Everysec;
        });
        let group = vary(base, "group", &self.group, |case, items| case.group = Some(items));
        let per_job = vary(base, "per-job", &self.per_job, |case, raw_events| case.per_job = Some(raw_events));
        let preload = vary(base, "preload", &self.preload, |case, events| case.preload = events);
        let backlog = vary(base, "backlog", &self.backlog, |case, events| {
            (case.backlog, case.events) = (true, events);
        });
        let tenants = vary(base, "tenants", &self.tenants, |case, tenants| case.tenants = tenants);
        let neighbours = Self::neighbours(base).into_iter().collect();
        [duplicates, queued, endpoints, items, latency, seconds, group, per_job, preload, backlog, tenants, neighbours]
            .concat()
    }

    /// None, and as many duplicates as are asked for, if both are.
    fn none_and_most(&self) -> Vec<f64> {
        let most = self.duplicates.iter().copied().fold(0.0, f64::max);
        if self.duplicates.contains(&0.0) && most > 0.0 { vec![0.0, most] } else { Vec::new() }
    }

    /// The neighbours move in beside one endpoint.
    fn neighbours(base: &Case) -> Option<Case> {
        (base.endpoints == 1).then(|| Case { name: "neighbours".to_owned(), neighbours: true, ..base.clone() })
    }
}

/// The value that the base case has of a side.
fn ordinary<T: Copy + PartialEq>(asked: &[T], usual: T) -> T {
    if asked.contains(&usual) { usual } else { asked.first().copied().unwrap_or(usual) }
}

/// The base case with another value of one side, for each value that makes a difference.
fn vary<T: Copy + Named>(base: &Case, side: &str, values: &[T], set: impl Fn(&mut Case, T)) -> Vec<Case> {
    let with = |value: &T| {
        let mut case = base.clone();
        set(&mut case, *value);
        case
    };
    let differing = values.iter().filter(|value| with(value) != *base);
    differing.map(|value| Case { name: format!("{side}={}", value.name()), ..with(value) }).collect()
}

/// How a value is called in the name of a case.
trait Named {
    fn name(self) -> String;
}

impl Named for u64 {
    fn name(self) -> String {
        self.to_string()
    }
}

impl Named for usize {
    fn name(self) -> String {
        self.to_string()
    }
}

impl Named for f64 {
    fn name(self) -> String {
        self.to_string()
    }
}

impl Named for Sync {
    fn name(self) -> String {
        match self {
            Self::Always => "always".to_owned(),
            Self::Everysec => "everysec".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        sides: Sides,
    }

    fn cases(words: &[&str]) -> Vec<Case> {
        Command::parse_from([&["bench"], words].concat()).sides.cases(false).unwrap()
    }

    fn names(words: &[&str]) -> Vec<String> {
        cases(words).into_iter().map(|case| case.name).collect()
    }

    #[test]
    fn each_side_is_varied_alone_and_the_base_case_comes_once_and_first() {
        let expected = [
            "base",
            "duplicates=0",
            "duplicates=0.8",
            "queued-duplicates=0",
            "queued-duplicates=0.8",
            "endpoints=3",
            "endpoints=10",
            "items=100",
            "latency-ms=1",
            "neighbours",
        ];
        assert_eq!(names(&[]), expected);

        let base = &cases(&[])[0];
        assert_eq!((base.duplicates, base.endpoints, base.items), (0.2, 1, 1));
    }

    #[test]
    fn the_base_case_has_what_is_asked_for_where_the_ordinary_is_not_asked_for() {
        let cases = cases(&["--endpoints", "3", "--items", "100,10", "--duplicates", "0"]);

        let sides: Vec<_> = cases.iter().map(|case| (case.name.as_str(), case.endpoints, case.items)).collect();
        assert_eq!(sides, [("base", 3, 100), ("items=10", 3, 10), ("latency-ms=1", 3, 100)]);
    }

    #[test]
    fn what_is_queued_has_none_and_as_many_duplicates_as_are_asked_for_whatever_the_base_case_has() {
        let queued = ["queued-duplicates=0", "queued-duplicates=0.5"];
        assert_eq!(names(&["--only", "queued", "--duplicates", "0,0.5"]), queued);
        assert_eq!(names(&["--only", "queued", "--duplicates", "0.5,0.2,0"]), queued);
        assert!(cases(&["--only", "queued"]).iter().all(|case| case.backlog));
    }

    #[test]
    fn what_is_asked_for_by_name_is_all_there_is() {
        assert_eq!(names(&["--only", "endpoints"]), ["endpoints=3", "endpoints=10"]);
        assert_eq!(names(&["--only", "base,items=100"]), ["base", "items=100"]);
        let none = Command::parse_from(["bench", "--only", "speed"]).sides.cases(false).unwrap_err();
        assert!(none.to_string().contains("latency-ms=1"), "{none}");
    }

    #[test]
    fn what_is_not_ordinary_is_measured_only_when_asked_for() {
        let asked = [
            "--group",
            "1",
            "--per-job",
            "1",
            "--preload",
            "0,1000",
            "--backlog",
            "500",
            "--tenants",
            "7",
            "--appendfsync",
            "always,everysec",
        ];

        let more: Vec<_> = names(&asked).into_iter().filter(|name| !names(&[]).contains(name)).collect();
        assert_eq!(more, ["appendfsync=everysec", "group=1", "per-job=1", "preload=1000", "backlog=500", "tenants=7"]);
    }

    #[test]
    fn more_endpoints_take_fewer_events_to_the_same_number_of_deliveries() {
        let deliveries: Vec<_> =
            cases(&["--only", "base,endpoints"]).iter().map(|case| case.events * case.endpoints).collect();

        assert_eq!(deliveries, [60_000; 3]);
    }
}
