//! Ranges of numbers: what is left of some without others.

use std::collections::BTreeMap;

use vocabulary::Incarnation;

/// Numbers from the first to the last, both included.
pub(super) type Range = (u64, u64);

/// Ranges of the numbers of each incarnation.
pub(super) type Numbers = BTreeMap<Incarnation, Vec<Range>>;

/// How many numbers there are.
pub(super) fn count(numbers: &Numbers) -> u64 {
    numbers.values().flatten().map(|(first, last)| last - first + 1).sum()
}

/// What of `numbers`, whose ranges are sorted and apart, is not in `covered`.
pub(super) fn without(numbers: &Numbers, covered: &Numbers) -> Numbers {
    let left = |(incarnation, ranges): (&Incarnation, &Vec<Range>)| {
        let left = subtract(ranges, covered.get(incarnation).map_or(&[], Vec::as_slice));
        (!left.is_empty()).then(|| (incarnation.clone(), left))
    };
    numbers.iter().filter_map(left).collect()
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
            first = first.max(end.saturating_add(1));
        }
        if first <= last {
            left.push((first, last));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_is_taken_out_of_a_gap_wherever_it_lies() {
        let gaps = [(1, 10), (20, 20), (30, 40)];

        assert_eq!(subtract(&gaps, &[]), gaps);
        assert_eq!(subtract(&gaps, &[(1, 50)]), []);
        assert_eq!(subtract(&gaps, &[(3, 4), (8, 25), (35, u64::MAX)]), [(1, 2), (5, 7), (30, 34)]);
        assert_eq!(subtract(&gaps, &[(36, 90), (1, 3), (2, 9)]), [(10, 10), (20, 20), (30, 35)]);
    }
}
