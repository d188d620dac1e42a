//! Latencies, counted in 30 KiB however many there are.
//!
//! Up to 64 every value has a place of its own; above, each power of two is cut into 64 places, so that a value is known to
//! 1.6 %. Values are microseconds here, but nothing depends on that.

use serde::{Deserialize, Serialize};

/// Places for each power of two.
const PLACES: usize = 1 << BITS;
const BITS: u32 = 6;
/// Enough for every `u64`.
const ALL: usize = PLACES * (64 - BITS as usize + 1);

/// How often each value was seen.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    seen: Box<[u64]>,
    count: u64,
    max: u64,
}

/// What people ask of a histogram, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Half were not slower.
    pub(crate) p50_us: u64,
    /// Nine in ten.
    pub(crate) p90_us: u64,
    /// 99 in a hundred.
    pub(crate) p99_us: u64,
    /// 999 in a thousand.
    pub(crate) p999_us: u64,
    /// None was.
    pub(crate) max_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { seen: vec![0; ALL].into_boxed_slice(), count: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts a value.
    pub(crate) fn record(&mut self, value: u64) {
        self.seen[place(value)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// Counts what another one has counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.seen.iter_mut().zip(&other.seen).for_each(|(mine, theirs)| *mine += theirs);
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// What this part of all values does not exceed; 0 if there are none. Never less than it was, and at most 1.6 % more.
    fn quantile(&self, part: f64) -> u64 {
        let rank = (part * self.count as f64).ceil().max(1.0) as u64;
        let mut passed = 0;
        let reached = self.seen.iter().position(|seen| {
            passed += seen;
            passed >= rank
        });
        reached.map_or(0, |place| highest(place).min(self.max))
    }

    /// What people ask.
    pub(crate) fn latency(&self) -> Latency {
        Latency {
            p50_us: self.quantile(0.5),
            p90_us: self.quantile(0.9),
            p99_us: self.quantile(0.99),
            p999_us: self.quantile(0.999),
            max_us: self.max,
        }
    }
}

fn place(value: u64) -> usize {
    let exponent = value.checked_ilog2().unwrap_or(0);
    let shift = exponent.saturating_sub(BITS);
    let within = (value >> shift) as usize;
    // From the first full power of two on, `within` is PLACES and more.
    shift as usize * PLACES + within
}

/// The highest value that has this place.
fn highest(place: usize) -> u64 {
    let shift = (place / PLACES).saturating_sub(1);
    let within = (place - shift * PLACES) as u128;
    u64::try_from(((within + 1) << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_place_whose_highest_value_is_at_most_a_64th_above_it() {
        let near_powers = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for value in near_powers.chain([1_000, 123_456_789, u64::MAX]) {
            let highest = highest(place(value));

            assert!(place(value) < ALL, "{value}");
            assert!(highest >= value && highest - value <= value / 64, "{value}: {highest}");
        }
    }

    #[test]
    fn places_follow_each_other_without_gap_or_overlap() {
        for at in 0..PLACES * 20 {
            assert_eq!(place(highest(at)), at);
            assert_eq!(place(highest(at) + 1), at + 1);
        }
    }

    #[test]
    fn quantiles_of_a_thousand_different_values_are_those_values() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|value| histogram.record(value));

        let Latency { p50_us, p90_us, p99_us, p999_us, max_us } = histogram.latency();

        let near = |value: u64, wanted: u64| value >= wanted && value <= wanted + wanted / 64;
        assert!(near(p50_us, 500) && near(p90_us, 900) && near(p99_us, 990) && near(p999_us, 999), "{p50_us} {p99_us}");
        assert_eq!(max_us, 1000);
    }

    #[test]
    fn of_nothing_all_quantiles_are_zero() {
        assert_eq!(Histogram::default().latency(), Latency::default());
    }

    #[test]
    fn two_histograms_added_are_one_of_all_their_values() {
        let (mut low, mut high, mut all) = (Histogram::default(), Histogram::default(), Histogram::default());
        (1..500).for_each(|value| low.record(value * 7));
        (500..1000).for_each(|value| high.record(value * 7));
        (1..1000).for_each(|value| all.record(value * 7));

        low.add(&high);

        assert_eq!(low.latency(), all.latency());
    }
}
