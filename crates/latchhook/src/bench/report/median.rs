//! What several runs say together.

use std::collections::{BTreeMap, BTreeSet};

use super::super::run::Run;

/// The middle of several numbers, or of the two middle ones; 0 of none.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    match (numbers.len() / 2, numbers.len() % 2) {
        (0, 0) => 0.0,
        (middle, 0) => f64::midpoint(numbers[middle - 1], numbers[middle]),
        (middle, _) => numbers[middle],
    }
}

/// The median of each of the named numbers of several runs; what a run does not name is 0 there.
pub(super) fn fields(runs: &[&Run], pick: impl Fn(&Run) -> &BTreeMap<String, f64>) -> Vec<(String, f64)> {
    let names: BTreeSet<&String> = runs.iter().flat_map(|run| pick(run).keys()).collect();
    let of = |name: &String| median(runs.iter().map(|run| pick(run).get(name).copied().unwrap_or(0.0)).collect());
    names.into_iter().map(|name| (name.clone(), of(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_between_two_middles_it_is_half_way() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0, 4.0]), 3.0);
        assert_eq!(median(vec![7.0]), 7.0);
        assert_eq!(median(Vec::new()), 0.0);
    }
}
