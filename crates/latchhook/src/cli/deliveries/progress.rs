//! Saying how far a look through many deliveries got.

use super::super::context::Context;

/// A line for so many, which takes a second or a few.
const EVERY: usize = 250_000;

/// How many were looked at.
#[derive(Debug, Default)]
pub(super) struct Progress {
    looked_at: usize,
}

impl Progress {
    /// So many more were. Says how many that makes when it is time to say so.
    pub(super) fn looked(&mut self, more: usize) -> Option<usize> {
        let lines = self.looked_at / EVERY;
        self.looked_at += more;
        (self.looked_at / EVERY > lines).then_some(self.looked_at)
    }

    /// Likewise, and says it to the person at the terminal.
    pub(super) fn note(&mut self, context: &Context<'_>, more: usize) {
        if let Some(looked_at) = self.looked(more) {
            context.note(&format!("looked at {looked_at} deliveries"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_a_million_is_a_line_and_what_is_less_is_none() {
        let mut progress = Progress::default();

        let says = [249_999, 1, 2_000, 248_000, 600_000].map(|more| progress.looked(more));

        assert_eq!(says, [None, Some(250_000), None, Some(500_000), Some(1_100_000)]);
    }
}
