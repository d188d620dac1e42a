//! What is sent, in which order: requests for the first time, and some of them again.
//!
//! Half of the repeats come among the next few requests, so that two workers hold the same item at the same moment; the
//! other half come at any time later, when it is done with. The same seed gives the same stream.

use rand::{Rng, SeedableRng, rngs::SmallRng};

/// How far back "among the next few" is: about as many requests as are on their way at the same time.
const NEAR: u64 = 64;
/// How far back a request can be repeated at all. Who sends must remember so many.
pub(super) const FAR: u64 = 1 << 16;

/// What to send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The request of this number, which was not sent yet.
    First(u64),
    /// The request of this number once more, as it was.
    Again(u64),
}

/// An order of requests, of which exactly so many are repeats.
#[derive(Debug)]
pub(super) struct Stream {
    firsts: u64,
    repeats: u64,
    next: u64,
    random: SmallRng,
}

impl Stream {
    /// So many requests, of which this share (below 1) are repeats.
    pub(super) fn new(seed: u64, requests: u64, share: f64) -> Self {
        let repeats = ((requests as f64 * share).round() as u64).min(requests.saturating_sub(1));
        Self { firsts: requests - repeats, repeats, next: 0, random: SmallRng::seed_from_u64(seed) }
    }

    /// How many different requests are still to come.
    pub(super) fn firsts(&self) -> u64 {
        self.firsts
    }

    fn again(&mut self) -> Turn {
        let farthest = if self.random.random() { NEAR } else { FAR };
        let back = self.random.random_range(1..=farthest.min(self.next));
        Turn::Again(self.next - back)
    }
}

impl Iterator for Stream {
    type Item = Turn;

    fn next(&mut self) -> Option<Turn> {
        let left = self.firsts + self.repeats;
        if left == 0 {
            return None;
        }
        let repeat = self.next > 0 && self.random.random_range(0..left) < self.repeats;
        if repeat {
            self.repeats -= 1;
            return Some(self.again());
        }
        self.firsts -= 1;
        self.next += 1;
        Some(Turn::First(self.next - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(seed: u64, requests: u64, share: f64) -> Vec<Turn> {
        Stream::new(seed, requests, share).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_stream_and_another_seed_another() {
        assert_eq!(stream(7, 1000, 0.2), stream(7, 1000, 0.2));
        assert_ne!(stream(7, 1000, 0.2), stream(8, 1000, 0.2));
    }

    #[test]
    fn exactly_the_share_that_was_asked_for_is_repeated() {
        for (share, repeats) in [(0.0, 0), (0.2, 200), (0.8, 800), (0.9999, 999)] {
            let stream = stream(1, 1000, share);

            let again = stream.iter().filter(|turn| matches!(turn, Turn::Again(_))).count();

            assert_eq!((stream.len(), again), (1000, repeats), "{share}");
        }
    }

    #[test]
    fn firsts_are_numbered_from_zero_and_nothing_is_repeated_before_it_was_sent() {
        let mut next = 0;
        for turn in stream(3, 10_000, 0.5) {
            match turn {
                Turn::First(number) => {
                    assert_eq!(number, next);
                    next += 1;
                }
                Turn::Again(number) => assert!(number < next && next - number <= FAR),
            }
        }
    }

    #[test]
    fn some_repeats_are_within_the_burst_and_some_far_from_their_first() {
        let (mut next, mut near, mut far) = (0, 0, 0);
        for turn in stream(3, 10_000, 0.5) {
            match turn {
                Turn::First(_) => next += 1,
                Turn::Again(number) if next - number <= NEAR => near += 1,
                Turn::Again(_) => far += 1,
            }
        }

        assert!(near > 2_000 && far > 2_000, "{near} near, {far} far");
    }
}
