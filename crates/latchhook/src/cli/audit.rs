//! `latchhook audit`: promises 1 to 4, checked on the live stores.
//!
//! The cast: *numbers*, which the queue gives without gaps; *pending* ones, which it still holds; *receipts*, which the
//! transaction that settles a raw event leaves in Postgres. Read in this order, so that nothing slips between: a number
//! that is no longer pending when we look there has its receipt when we look at those.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, ensure};
use database::{
    AsyncPgConnection,
    audit::{self, Finding, NAMED, Sums},
};
use queue::Inbound;
use serde::Serialize;
use serde_json::{Value, json};
use vocabulary::Incarnation;

use super::context::Context;

/// Numbers from the first to the last, both included.
type Range = (u64, u64);
/// Somebody else has taken over from the dead by then.
const SILENCE: Duration = Duration::from_secs(300);

/// What an audit found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Whether every promise is kept.
    pub(crate) kept: bool,
    sums: Value,
    checks: Vec<Finding>,
}

impl Report {
    /// What must be true, and is not.
    pub(crate) fn broken(&self) -> impl Iterator<Item = &Finding> {
        self.checks.iter().filter(|finding| finding.breaches > 0)
    }

    /// How many checks there were.
    pub(crate) fn checks(&self) -> usize {
        self.checks.len()
    }
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>) -> anyhow::Result<()> {
    let redis =
        context.redis().await.context("what the queue holds cannot be asked, so nothing can be said of promise 2")?;
    let mut conn = context.postgres().await?;
    let report = check(&Inbound::new(&redis), &mut conn).await?;
    print(context, &report)?;
    ensure!(
        report.kept,
        "{} of the checks found a breach: the ids are above; latchhook events show tells of each",
        report.broken().count()
    );
    Ok(())
}

/// Checks the promises on these stores.
pub(crate) async fn check(inbound: &Inbound, conn: &mut AsyncPgConnection) -> anyhow::Result<Report> {
    audit::prepare(conn).await?;
    let numbers = Numbers::read(inbound, conn).await?;
    let sums = numbers.beside(audit::sums(conn).await?)?;
    let mut checks = audit::check(conn).await?;
    checks.extend([numbers.forgotten(), numbers.missing()]);
    checks.extend(queue_findings(inbound).await?);
    checks.sort_by_key(|finding| finding.promise);
    let kept = checks.iter().all(|finding| finding.breaches == 0);
    Ok(Report { kept, sums, checks })
}

fn print(context: &mut Context<'_>, report: &Report) -> anyhow::Result<()> {
    if context.out.is_json() {
        return context.out.json(report);
    }
    let row = |finding: &Finding| {
        let found = if finding.breaches == 0 { "kept".to_owned() } else { format!("{} breaches", finding.breaches) };
        json!({"promise": finding.promise, "what_must_be_true": finding.check, "found": found, "where": finding.offenders})
    };
    context.out.object(&report.sums)?;
    context.out.text("")?;
    let rows: Vec<_> = report.checks.iter().map(row).collect();
    context.out.list(&["promise", "what_must_be_true", "found", "where"], &rows)
}

/// What the queue says of its numbers, and what receipts say of them.
struct Numbers {
    /// The last number that the queue gave, of each incarnation that it remembers.
    given: BTreeMap<Incarnation, u64>,
    /// The highest number with a receipt, of each incarnation that ever left one.
    receipted: BTreeMap<Incarnation, u64>,
    pending: BTreeMap<Incarnation, Vec<Range>>,
    /// Neither pending nor settled.
    missing: BTreeMap<Incarnation, Vec<Range>>,
}

impl Numbers {
    async fn read(inbound: &Inbound, conn: &AsyncPgConnection) -> anyhow::Result<Self> {
        let given = inbound.last_numbers().await?.into_iter().collect();
        let pending = pending(inbound).await?;
        let receipted = audit::incarnations(conn).await?.into_iter().collect();
        let mut numbers = Self { given, receipted, pending, missing: BTreeMap::new() };
        numbers.missing = numbers.look_for_missing(conn).await?;
        if !numbers.missing.is_empty() {
            // Once more before anything is called missing, because what is worked on moves while we look.
            let first_look = std::mem::replace(&mut numbers.pending, self::pending(inbound).await?);
            for (incarnation, ranges) in first_look {
                numbers.pending.entry(incarnation).or_default().extend(ranges);
            }
            numbers.missing = numbers.look_for_missing(conn).await?;
        }
        Ok(numbers)
    }

    async fn look_for_missing(&self, conn: &AsyncPgConnection) -> anyhow::Result<BTreeMap<Incarnation, Vec<Range>>> {
        let mut missing = BTreeMap::new();
        let forgotten = self.receipted.iter().filter(|(incarnation, _)| !self.given.contains_key(incarnation));
        for (incarnation, last) in self.given.iter().chain(forgotten) {
            let gaps = audit::gaps(conn, incarnation, *last).await?;
            let pending = self.pending.get(incarnation).map_or(&[][..], Vec::as_slice);
            let left = subtract(&gaps, pending);
            if !left.is_empty() {
                missing.insert(incarnation.clone(), left);
            }
        }
        Ok(missing)
    }

    fn missing(&self) -> Finding {
        let each =
            self.missing.iter().flat_map(|(incarnation, ranges)| ranges.iter().map(move |range| (incarnation, range)));
        let numbers = each.clone().flat_map(|(incarnation, (first, last))| {
            (*first..=*last).map(move |number| format!("{incarnation}-{number}"))
        });
        Finding {
            promise: 2,
            check: "every number that the queue gave is settled or pending",
            offenders: numbers.take(NAMED).collect(),
            breaches: each.map(|(_, (first, last))| last - first + 1).sum(),
        }
    }

    /// A queue that has lost its memory cannot say how far its numbers went.
    fn forgotten(&self) -> Finding {
        let above = |(incarnation, highest): (&Incarnation, &u64)| match self.given.get(incarnation) {
            Some(last) if last >= highest => None,
            remembered => {
                let last = remembered.unwrap_or(highest);
                Some(format!("numbers above {last} of incarnation {incarnation}: unknown"))
            }
        };
        let mut offenders: Vec<String> = self.receipted.iter().filter_map(above).collect();
        let breaches = offenders.len() as u64;
        offenders.truncate(NAMED);
        Finding { promise: 2, check: "the queue remembers every number that it gave", breaches, offenders }
    }

    fn beside(&self, sums: Sums) -> anyhow::Result<Value> {
        let count = |ranges: &Vec<Range>| ranges.iter().map(|(first, last)| last - first + 1).sum::<u64>();
        let mut sums = serde_json::to_value(sums)?;
        sums["numbers_given"] = json!(self.given.values().sum::<u64>());
        sums["raw_events_pending"] = json!(self.pending.values().map(count).sum::<u64>());
        Ok(sums)
    }
}

async fn pending(inbound: &Inbound) -> anyhow::Result<BTreeMap<Incarnation, Vec<Range>>> {
    let mut pending: BTreeMap<Incarnation, Vec<Range>> = BTreeMap::new();
    for job in inbound.pending().await? {
        if let Some(others) = u64::from(job.count).checked_sub(1) {
            pending.entry(job.incarnation).or_default().push((job.first, job.first + others));
        }
    }
    Ok(pending)
}

/// What of `ranges`, which are sorted and apart, none of `covered` covers.
fn subtract(ranges: &[Range], covered: &[Range]) -> Vec<Range> {
    let mut covered = covered.to_vec();
    covered.sort_unstable();
    let mut left = Vec::new();
    let mut from = 0;
    for &(mut first, last) in ranges {
        // What ends before this range ends before all that follow.
        while covered.get(from).is_some_and(|(_, end)| *end < first) {
            from += 1;
        }
        for &(begin, end) in covered[from..].iter().take_while(|(begin, _)| *begin <= last) {
            if begin > first {
                left.push((first, begin - 1));
            }
            first = first.max(end + 1);
        }
        if first <= last {
            left.push((first, last));
        }
    }
    left
}

async fn queue_findings(inbound: &Inbound) -> anyhow::Result<[Finding; 2]> {
    let (depth, dead) = (inbound.depth().await?, inbound.dead_workers(SILENCE).await?);
    let lost = [("in the dead set", depth.dead), ("out of every worker's reach", depth.unreachable)];
    let lost = lost.iter().filter(|(_, jobs)| *jobs > 0);
    Ok([
        Finding {
            promise: 2,
            check: "no job is where nobody would work on it",
            breaches: depth.dead + depth.unreachable,
            offenders: lost.map(|(place, jobs)| format!("{jobs} {place}")).collect(),
        },
        Finding {
            promise: 2,
            check: "no worker that is silent for five minutes holds jobs",
            breaches: dead.len() as u64,
            offenders: dead
                .iter()
                .take(NAMED)
                .map(|worker| format!("{} holds {}", worker.name, worker.holds))
                .collect(),
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_is_taken_out_of_a_gap_wherever_it_lies() {
        let gaps = [(1, 10), (20, 20), (30, 40)];

        assert_eq!(subtract(&gaps, &[]), gaps);
        assert_eq!(subtract(&gaps, &[(1, 50)]), []);
        assert_eq!(subtract(&gaps, &[(3, 4), (8, 25), (35, 35)]), [(1, 2), (5, 7), (30, 34), (36, 40)]);
        assert_eq!(subtract(&gaps, &[(36, 90), (1, 3), (2, 9)]), [(10, 10), (20, 20), (30, 35)]);
    }

    #[test]
    fn a_number_above_what_the_queue_remembers_is_unknown() {
        let (known, lost) = (Incarnation::new("known"), Incarnation::new("lost"));
        let mut numbers = Numbers {
            given: [(known.clone(), 7)].into(),
            receipted: [(known.clone(), 7), (lost, 3)].into(),
            pending: BTreeMap::new(),
            missing: BTreeMap::new(),
        };

        assert_eq!(numbers.forgotten().offenders, ["numbers above 3 of incarnation lost: unknown"]);

        numbers.receipted = [(known, 9)].into();
        assert_eq!(numbers.forgotten().offenders, ["numbers above 7 of incarnation known: unknown"]);
    }

    #[test]
    fn missing_numbers_are_counted_and_the_first_of_them_named() {
        let numbers = Numbers {
            given: BTreeMap::new(),
            receipted: BTreeMap::new(),
            pending: BTreeMap::new(),
            missing: [(Incarnation::new("i"), vec![(5, 5), (10, 1_000_000)])].into(),
        };

        let finding = numbers.missing();

        assert_eq!((finding.breaches, finding.offenders.len()), (999_992, NAMED));
        assert_eq!(finding.offenders[..2], ["i-5", "i-10"]);
    }
}
