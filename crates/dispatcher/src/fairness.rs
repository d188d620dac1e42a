//! How accounts share what a process has for all of them: deliveries on their way, look-ups of names, the memory for large
//! bodies.
//!
//! **One may have half of what the others leave.** So one who is alone has half of all, and with as much as is free one gets no
//! more. Nobody need know who else there is, or who waits: every newcomer finds something. That is the dynamic threshold of
//! switches that share their memory among ports, with α = 1 (Choudhury and Hahne, *Dynamic Queue Length Thresholds for
//! Shared-Memory Packet Switches*, IEEE/ACM Transactions on Networking 6(2), 1998, pages 130 to 140).
//!
//! What `k` accounts can do that take whatever they get and never end by themselves:
//!
//! * They leave one part in `k + 1` where they grow side by side: of 256 places two leave 85, five 42.
//! * They leave one part in `2^k` where each has all it gets before the next comes, because nobody is made to give back: two
//!   leave 64 of 256, five 8, and nine nothing. That lasts for as long as what the first have, a request's deadline; what ends
//!   then is shared anew, and so it comes to one part in `k + 1`.

/// How much one may have of `all`, with what one has already, while the others have so much. At least one of whatever they leave.
pub(crate) fn share(all: usize, others: usize) -> usize {
    all.saturating_sub(others).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as much as it can get.
    fn fill(had: &mut [usize], own: usize, all: usize) {
        while had[own] < share(all, had.iter().sum::<usize>() - had[own]) {
            had[own] += 1;
        }
    }

    #[test]
    fn who_is_alone_has_half_and_who_comes_after_another_half_of_what_is_left() {
        let mut had = [0; 10];

        (0..10).for_each(|own| fill(&mut had, own, 256));

        assert_eq!(had, [128, 64, 32, 16, 8, 4, 2, 1, 1, 0]);
    }

    #[test]
    fn what_ends_is_shared_anew_until_all_have_the_same_and_as_much_is_free() {
        let mut had = [128, 64, 32, 16, 8];

        for _ in 0..20 {
            for own in 0..5 {
                had[own] = 0;
                fill(&mut had, own, 256);
            }
        }

        assert!(had.iter().all(|own| own.abs_diff(256 / 6) <= 1), "{had:?}");
    }
}
