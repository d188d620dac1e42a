//! How many items a group is given.
//!
//! Duplicates cost a transaction little, and only the claims tell them. So a group is as large as fills one transaction with what
//! is new, if as much of it is new as of the last one that was full. Where that was wrong, it becomes several transactions.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::pieces::Limits;

/// By what the last group had in it that was at least half a transaction: fewer say little of the next.
#[derive(Debug)]
pub(crate) struct Fill {
    items: AtomicUsize,
    limits: Limits,
}

impl Fill {
    /// As if all were new.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { items: AtomicUsize::new(limits.new.min(limits.items)), limits }
    }

    /// How many items the next group is given.
    pub(crate) fn items(&self) -> usize {
        self.items.load(Relaxed)
    }

    /// So many of a group's items were new.
    pub(crate) fn note(&self, items: usize, new: usize) {
        let Limits { items: most, new: full, .. } = self.limits;
        if items >= full / 2 {
            self.items.store((items * full / new.max(1)).max(full).min(most), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(items: usize, new: usize) -> Fill {
        Fill::new(Limits { items, new, bytes: 0 })
    }

    #[test]
    fn a_group_is_given_as_much_as_has_a_transaction_of_new_ones_in_it_by_what_the_last_had() {
        let fill = fill(2000, 500);
        assert_eq!(fill.items(), 500, "as if all were new");

        fill.note(500, 400);
        assert_eq!(fill.items(), 625);
        fill.note(625, 125);
        assert_eq!(fill.items(), 2000, "2,500 would be more than a group takes");
        fill.note(2000, 0);
        assert_eq!(fill.items(), 2000, "of duplicates alone as many as may be");
        fill.note(2000, 2000);
        assert_eq!(fill.items(), 500);
    }

    #[test]
    fn a_group_that_was_not_half_full_says_nothing_of_the_next() {
        let fill = fill(2000, 500);
        fill.note(249, 1);
        assert_eq!(fill.items(), 500);
    }

    #[test]
    fn a_group_of_one_stays_one_whatever_is_in_it() {
        let fill = fill(1, 1);
        for new in [0, 1] {
            fill.note(1, new);
            assert_eq!(fill.items(), 1);
        }
    }
}
