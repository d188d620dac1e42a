//! Receipts against numbers: what the queue gave, what it still holds, and what was settled.

use std::collections::{BTreeMap, BTreeSet};

use database::{
    AsyncPgConnection,
    audit::{self, Finding, NAMED, Sums},
    losses::{self, Loss},
};
use queue::Inbound;
use serde_json::{Value, json};
use vocabulary::Incarnation;

use super::ranges::{self, Range, count, without};

/// What the queue says of its numbers, and what receipts and people say of them.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// The last number that the queue gave, of each incarnation that it remembers.
    given: BTreeMap<Incarnation, u64>,
    /// The highest number with a receipt, of each incarnation that ever left one.
    receipted: BTreeMap<Incarnation, u64>,
    pending: ranges::Numbers,
    /// Neither pending nor settled, accepted or not.
    missing: ranges::Numbers,
    /// What people have accepted as lost, whether it was or not.
    accepted: ranges::Numbers,
}

impl Numbers {
    /// Reads in this order, because all of it moves: a number with a receipt was given when we ask for those, and one that
    /// was given is pending, or has its receipt, when we ask for these.
    pub(super) async fn read(inbound: &Inbound, conn: &AsyncPgConnection) -> anyhow::Result<Self> {
        let receipted = audit::incarnations(conn).await?.into_iter().collect();
        let given = inbound.last_numbers().await?.into_iter().collect();
        let pending = pending(inbound).await?;
        let accepted = accepted(losses::list(conn).await?);
        let mut numbers = Self { given, receipted, pending, missing: BTreeMap::new(), accepted };
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

    async fn look_for_missing(&self, conn: &AsyncPgConnection) -> anyhow::Result<ranges::Numbers> {
        let mut gaps = BTreeMap::new();
        let incarnations: BTreeSet<_> = self.given.keys().chain(self.receipted.keys()).collect();
        for incarnation in incarnations {
            gaps.insert(incarnation.clone(), audit::gaps(conn, incarnation, self.highest(incarnation)).await?);
        }
        Ok(without(&gaps, &self.pending))
    }

    /// How far the numbers of an incarnation went, as far as anybody can tell.
    fn highest(&self, incarnation: &Incarnation) -> u64 {
        self.given.get(incarnation).max(self.receipted.get(incarnation)).copied().unwrap_or(0)
    }

    /// Numbers that nobody has accepted as lost.
    pub(super) fn missing(&self) -> Finding {
        let missing = without(&self.missing, &self.accepted);
        let each =
            missing.iter().flat_map(|(incarnation, ranges)| ranges.iter().map(move |range| (incarnation, range)));
        let numbers = each.flat_map(|(incarnation, (first, last))| {
            (*first..=*last).map(move |number| format!("{incarnation}-{number}"))
        });
        Finding {
            promise: 2,
            check: "every number that the queue gave is settled or pending",
            offenders: numbers.take(NAMED).collect(),
            breaches: count(&missing),
        }
    }

    /// A queue that has lost its memory cannot say how far its numbers went.
    pub(super) fn forgotten(&self) -> Finding {
        let unknown = self.unknown().filter(|(incarnation, above)| !self.is_accepted_above(incarnation, *above));
        let offenders =
            unknown.map(|(incarnation, above)| format!("numbers above {above} of incarnation {incarnation}: unknown"));
        let mut offenders: Vec<String> = offenders.collect();
        let breaches = offenders.len() as u64;
        offenders.truncate(NAMED);
        Finding { promise: 2, check: "the queue remembers every number that it gave", breaches, offenders }
    }

    /// Incarnations whose end nobody knows, and the number above which nothing is known of them.
    fn unknown(&self) -> impl Iterator<Item = (&Incarnation, u64)> {
        let forgotten = |(incarnation, highest): &(&Incarnation, &u64)| self.given.get(incarnation) < Some(highest);
        self.receipted.iter().filter(forgotten).map(|(incarnation, highest)| (incarnation, *highest))
    }

    fn is_accepted_above(&self, incarnation: &Incarnation, above: u64) -> bool {
        let covers = |(first, last): &Range| *first <= above + 1 && *last == u64::MAX;
        self.accepted.get(incarnation).is_some_and(|accepted| accepted.iter().any(covers))
    }

    /// What is missing now and nobody has accepted, as rows of `losses`.
    pub(super) fn to_accept(&self) -> Vec<Loss> {
        let loss = |incarnation: &Incarnation, first: u64, last: Option<u64>| Loss {
            incarnation: incarnation.as_str().to_owned(),
            first: first.cast_signed(),
            last: last.map(u64::cast_signed),
        };
        let missing = without(&self.missing, &self.accepted);
        let ranges = missing.iter().flat_map(|(incarnation, ranges)| {
            ranges.iter().map(move |(first, last)| loss(incarnation, *first, Some(*last)))
        });
        let unknown = self.unknown().filter(|(incarnation, above)| !self.is_accepted_above(incarnation, *above));
        let mut losses: Vec<Loss> =
            ranges.chain(unknown.map(|(incarnation, above)| loss(incarnation, above + 1, None))).collect();
        losses.sort_by(|one, other| (&one.incarnation, one.first).cmp(&(&other.incarnation, other.first)));
        losses
    }

    /// What is missing now and was accepted: raw events, ranges of them, and incarnations whose end nobody knows. A number
    /// that has turned up since is none of them.
    pub(super) fn accepted(&self) -> Value {
        let accepted = without(&self.missing, &without(&self.missing, &self.accepted));
        let unknown = self.unknown().filter(|(incarnation, above)| self.is_accepted_above(incarnation, *above));
        json!({
            "raw_events": count(&accepted),
            "ranges": accepted.values().map(Vec::len).sum::<usize>(),
            "incarnations_without_end": unknown.count(),
        })
    }

    pub(super) fn beside(&self, sums: Sums) -> anyhow::Result<Value> {
        let mut sums = serde_json::to_value(sums)?;
        sums["numbers_given"] = json!(self.given.values().sum::<u64>());
        sums["raw_events_pending"] = json!(count(&self.pending));
        Ok(sums)
    }
}

/// The numbers of the jobs that the queue holds.
pub(super) async fn pending(inbound: &Inbound) -> anyhow::Result<ranges::Numbers> {
    let mut pending = ranges::Numbers::new();
    for job in inbound.pending().await? {
        if let Some(others) = u64::from(job.count).checked_sub(1) {
            pending.entry(job.incarnation).or_default().push((job.first, job.first + others));
        }
    }
    Ok(pending)
}

fn accepted(losses: Vec<Loss>) -> ranges::Numbers {
    let mut accepted = ranges::Numbers::new();
    for loss in losses {
        let range = (loss.first.cast_unsigned(), loss.last.map_or(u64::MAX, i64::cast_unsigned));
        accepted.entry(Incarnation::new(&loss.incarnation)).or_default().push(range);
    }
    accepted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(incarnation: &str, ranges: &[Range]) -> ranges::Numbers {
        [(Incarnation::new(incarnation), ranges.to_vec())].into()
    }

    #[test]
    fn an_end_that_the_queue_has_forgotten_is_unknown() {
        let (known, lost) = (Incarnation::new("known"), Incarnation::new("lost"));
        let given = [(known.clone(), 7)].into();
        let mut numbers = Numbers { given, receipted: [(known.clone(), 7), (lost, 3)].into(), ..Numbers::default() };

        assert_eq!(numbers.forgotten().offenders, ["numbers above 3 of incarnation lost: unknown"]);

        numbers.receipted = [(known, 9)].into();
        assert_eq!(numbers.forgotten().offenders, ["numbers above 9 of incarnation known: unknown"]);
    }

    #[test]
    fn missing_numbers_are_counted_and_the_first_of_them_named() {
        let numbers = Numbers { missing: of("i", &[(5, 5), (10, 1_000_000)]), ..Numbers::default() };

        let finding = numbers.missing();

        assert_eq!((finding.breaches, finding.offenders.len()), (999_992, NAMED));
        assert_eq!(finding.offenders[..2], ["i-5", "i-10"]);
    }

    #[test]
    fn what_was_accepted_is_no_breach_and_what_is_missing_beside_it_is_one() {
        let missing = of("i", &[(3, 9), (20, 22)]);
        let mut numbers = Numbers { missing, accepted: of("i", &[(1, 5), (7, 21)]), ..Numbers::default() };
        assert_eq!(numbers.missing().offenders, ["i-6", "i-22"]);
        assert_eq!(numbers.accepted()["raw_events"], 8);
        assert_eq!(numbers.accepted()["ranges"], 3);

        let loss = |first, last| Loss { incarnation: "i".into(), first, last: Some(last) };
        assert_eq!(numbers.to_accept(), [loss(6, 6), loss(22, 22)]);

        numbers.missing = of("i", &[(4, 4)]);
        assert_eq!(numbers.accepted()["raw_events"], 1, "the others have turned up");
    }

    #[test]
    fn an_unknown_end_is_accepted_with_all_that_turns_out_to_be_above_it() {
        let lost = Incarnation::new("lost");
        let mut numbers = Numbers { receipted: [(lost.clone(), 7)].into(), ..Numbers::default() };
        assert_eq!(numbers.to_accept(), [Loss { incarnation: "lost".into(), first: 8, last: None }]);

        numbers.accepted = accepted(numbers.to_accept());
        assert_eq!((numbers.forgotten().breaches, numbers.to_accept()), (0, vec![]));
        numbers.given = [(lost, 12)].into();
        numbers.missing = of("lost", &[(5, 5), (8, 12)]);

        assert_eq!((numbers.forgotten().breaches, numbers.missing().offenders), (0, vec!["lost-5".to_owned()]));
    }
}
