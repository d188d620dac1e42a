//! The plan: which fault at which second. The same seed and length make the same plan.

use std::{fmt, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};

use crate::{fault::Fault, fleet::Name};

/// When nothing goes wrong yet: a repeated delivery has no excuse here.
const QUIET: Duration = Duration::from_secs(3);
/// Faults begin so often, on average; they last longer, and overlap.
const EVERY: Duration = Duration::from_secs(3);

/// A fault, and when.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned {
    /// Since the stream began.
    pub(crate) at: Duration,
    /// What.
    pub(crate) fault: Fault,
    /// For how long, where it is not over at once.
    pub(crate) lasts: Duration,
}

/// What goes wrong, and for how long things go wrong at all.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) faults: Vec<Planned>,
    pub(crate) length: Duration,
}

impl Plan {
    /// Everything but the loss of Redis's memory: of every kind one, and more of any kind as long as there is time.
    pub(crate) fn new(seed: u64, length: Duration) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut faults = Fault::of_every_kind(&mut rng);
        let wanted = (length.saturating_sub(QUIET).as_secs_f64() / EVERY.as_secs_f64()) as usize;
        while faults.len() < wanted {
            faults.push(Fault::of_any_kind(&mut rng));
        }
        faults.shuffle(&mut rng);
        let between = length.saturating_sub(QUIET).div_f64(faults.len() as f64);
        let planned = faults.into_iter().enumerate().map(|(nth, fault)| {
            let at = QUIET + between.mul_f64(nth as f64 + rng.random_range(0.0..0.8));
            Planned { at, fault, lasts: lasts(&mut rng) }
        });
        Self { faults: planned.collect(), length }
    }

    /// Redis loses its memory, in both ways, in an order and at moments of chance's choosing; once each, and again as long
    /// as there is time. In between something else goes wrong too.
    pub(crate) fn of_amnesia(seed: u64, length: Duration) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ 1);
        let rounds = 1 + (length.as_secs_f64() / 240.0) as usize;
        let others = [Fault::Kill(Name::worker(&mut rng)), Fault::Kill(Name::dispatcher(&mut rng))];
        let mut faults: Vec<_> =
            (0..rounds).flat_map(|_| [Fault::RedisFlush, Fault::RedisEmpty]).chain(others).collect();
        faults.shuffle(&mut rng);
        let planned = faults.into_iter().enumerate().map(|(nth, fault)| {
            let at = QUIET + EVERY.mul_f64(1.5 * nth as f64 + rng.random_range(0.0..0.8));
            Planned { at, fault, lasts: lasts(&mut rng) }
        });
        let faults: Vec<_> = planned.collect();
        let length = faults.last().map_or(QUIET, |last| last.at) + 2 * EVERY;
        Self { faults, length }
    }

    /// Only what is of these classes, at the same seconds; all of it if none are given.
    pub(crate) fn only(mut self, classes: &[String]) -> Self {
        let is_wanted = |planned: &Planned| classes.iter().any(|class| class == planned.fault.class());
        self.faults.retain(|planned| classes.is_empty() || is_wanted(planned));
        self
    }
}

/// Longer than a worker's or a dispatcher's lease here, now and then.
fn lasts(rng: &mut SmallRng) -> Duration {
    Duration::from_millis(rng.random_range(2000..7000))
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:6.1} s  {} ({:.1} s)", self.at.as_secs_f64(), self.fault, self.lasts.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn classes(plan: &Plan) -> BTreeSet<&'static str> {
        plan.faults.iter().map(|planned| planned.fault.class()).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_plan_and_another_seed_another() {
        let length = Duration::from_secs(120);

        assert_eq!(Plan::new(7, length), Plan::new(7, length));
        assert_ne!(Plan::new(7, length), Plan::new(8, length));
    }

    #[test]
    fn redis_loses_its_memory_in_both_ways_at_moments_that_the_seed_decides() {
        let length = Duration::from_secs(120);
        let amnesia = Plan::of_amnesia(7, length);

        assert_eq!(amnesia, Plan::of_amnesia(7, length));
        assert_ne!(amnesia, Plan::of_amnesia(8, length));
        assert!(classes(&amnesia).is_superset(&BTreeSet::from(["redis-empty", "redis-flush"])));
    }

    #[test]
    fn the_shortest_plan_has_every_class_and_a_long_one_more_of_them() {
        let (short, long) = (Plan::new(1, Duration::from_secs(100)), Plan::new(1, Duration::from_secs(1200)));

        assert_eq!(classes(&short), classes(&long));
        assert!(classes(&short).len() > 15, "{:?}", classes(&short));
        assert!(long.faults.len() > 3 * short.faults.len());
    }
}
