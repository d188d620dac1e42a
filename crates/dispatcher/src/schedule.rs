//! When a delivery that failed is tried again, and when it is given up.
//!
//! An attempt's place in the schedule is how many were made before it. Jitter only ever lengthens a pause, so each moment
//! here is a pair: without any jitter, and with all of it. What the attempts themselves take comes on top (a request's
//! deadline at most), and so does what an overloaded customer asks for (see [`crate::judge`]).

use std::{iter, time::Duration};

/// The most that jitter adds to one pause; below that it is a tenth.
const LONGEST_JITTER: Duration = Duration::from_secs(600);

/// When a delivery that failed is tried again: the pauses between one attempt and the next. When they are used up it is
/// abandoned. Without any pause there is one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(pub Vec<Duration>);

/// A span of time that jitter may lengthen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Without any jitter.
    pub at_least: Duration,
    /// With all of it.
    pub at_most: Duration,
}

impl Default for Schedule {
    /// Standard Webhooks 1.0.0: at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h. Ten attempts in
    /// 75 hours and 35 minutes.
    fn default() -> Self {
        Self([5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400].map(Duration::from_secs).into())
    }
}

impl Schedule {
    /// The schedule of an endpoint of its own, as its row has it.
    pub fn of_seconds(pauses: &[i32]) -> Self {
        Self(pauses.iter().map(|pause| Duration::from_secs(pause.unsigned_abs().into())).collect())
    }

    /// The pause after an attempt that failed, before which `attempts` were made; `None` gives up.
    pub(crate) fn pause(&self, attempts: u32) -> Option<Duration> {
        self.0.get(usize::try_from(attempts).ok()?).copied()
    }

    /// When each attempt is made, if all before it fail; counted from the first.
    pub fn attempts(&self) -> impl Iterator<Item = Span> {
        let later = self.0.iter().scan(Span::default(), |span, pause| {
            *span = span.and(*pause);
            Some(*span)
        });
        iter::once(Span::default()).chain(later)
    }

    /// From the attempt before which `attempts` were made to the last one, after which the delivery is given up.
    pub fn left(&self, attempts: u32) -> Span {
        let made = usize::try_from(attempts).unwrap_or(usize::MAX);
        self.0.iter().skip(made).fold(Span::default(), |span, pause| span.and(*pause))
    }
}

impl Span {
    fn and(self, pause: Duration) -> Self {
        Self {
            at_least: self.at_least.saturating_add(pause),
            at_most: self.at_most.saturating_add(pause).saturating_add(longest_jitter(pause)),
        }
    }
}

/// A pause with its jitter, so that what failed together does not come back together. `random` is from 0 to 1.
pub(crate) fn with_jitter(pause: Duration, random: f64) -> Duration {
    pause.saturating_add(longest_jitter(pause).mul_f64(random.clamp(0.0, 1.0)))
}

fn longest_jitter(pause: Duration) -> Duration {
    (pause / 10).min(LONGEST_JITTER)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn seconds(spans: impl Iterator<Item = Span>) -> Vec<(u64, u64)> {
        spans.map(|span| (span.at_least.as_secs(), span.at_most.as_secs())).collect()
    }

    #[test]
    fn the_schedule_of_standard_webhooks_is_ten_attempts_in_seventy_five_hours() {
        let spans: Vec<_> = Schedule::default().attempts().collect();

        assert_eq!(spans.len(), 10);
        assert_eq!(spans[9].at_least, Duration::from_secs(75 * 3600 + 35 * 60 + 5));
        assert_eq!(spans[9], Schedule::default().left(0));
    }

    #[test]
    fn jitter_is_a_tenth_of_each_pause_and_ten_minutes_at_most() {
        let schedule = Schedule::of_seconds(&[10, 100, 86_400]);

        assert_eq!(seconds(schedule.attempts()), [(0, 0), (10, 11), (110, 121), (86_510, 87_121)]);
        assert_eq!(seconds([schedule.left(2), schedule.left(3)].into_iter()), [(86_400, 87_000), (0, 0)]);
    }

    #[test]
    fn a_schedule_without_pauses_is_one_attempt() {
        let schedule = Schedule::of_seconds(&[]);

        assert_eq!(schedule.pause(0), None);
        assert_eq!(seconds(schedule.attempts()), [(0, 0)]);
    }

    fn any_schedule() -> impl Strategy<Value = Schedule> {
        let pause = prop_oneof![1..700_000_u64, any::<u64>()].prop_map(Duration::from_secs);
        vec(pause, 0..60).prop_map(Schedule)
    }

    proptest! {
        #[test]
        fn attempts_come_one_after_the_other_and_as_many_as_there_are_pauses_and_one(schedule in any_schedule()) {
            let spans: Vec<_> = schedule.attempts().collect();

            prop_assert_eq!(spans.len(), schedule.0.len() + 1);
            prop_assert!(spans.is_sorted_by_key(|span| span.at_least) && spans.is_sorted_by_key(|span| span.at_most));
            prop_assert_eq!(spans.last().copied(), Some(schedule.left(0)));
        }

        #[test]
        fn what_is_left_shrinks_with_each_attempt_to_nothing(schedule in any_schedule()) {
            let left: Vec<_> = (0..=60).map(|attempts| schedule.left(attempts)).collect();

            prop_assert!(left.is_sorted_by(|earlier, later| earlier.at_most >= later.at_most));
            prop_assert_eq!(left[60], Span::default());
            prop_assert_eq!(schedule.left(u32::MAX), Span::default());
        }

        #[test]
        fn jitter_makes_no_delivery_earlier_and_none_later_than_the_preview_says(
            schedule in any_schedule(),
            random in any::<f64>(),
        ) {
            for (attempts, span) in schedule.attempts().enumerate().skip(1) {
                let made = schedule.0.iter().take(attempts);
                let after = made.fold(Duration::ZERO, |sum, pause| sum.saturating_add(with_jitter(*pause, random)));

                prop_assert!(span.at_least <= after && after <= span.at_most, "{attempts}: {after:?} of {span:?}");
                prop_assert!(span.at_most <= span.at_least.saturating_add(LONGEST_JITTER * 60));
            }
        }
    }
}
