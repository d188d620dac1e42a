//! How long to leave a server alone that did not answer.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Pauses that double from a tenth of a second to five seconds.
#[derive(Debug, Default)]
pub(crate) struct BackOff {
    failures: u32,
}

impl BackOff {
    /// The pause after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// It answered.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_seconds_and_start_small_again_after_an_answer() {
        let mut back_off = BackOff::default();

        let pauses: Vec<_> = (0..8).map(|_| back_off.next().as_millis()).collect();
        back_off.reset();

        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(back_off.next().as_millis(), 100);
    }
}
