//! Which request is next, when it is due, and how it is stamped.

use std::time::Duration;

use super::{
    super::{
        clock,
        stream::{FAR, Stream, Turn},
    },
    Options,
};

/// So long after it is made, a schedule at a rate begins: the connections are ready then.
const HEAD_START: Duration = Duration::from_millis(10);

/// The turns that are left. Repeats have the stamp of their first, or they would be other bytes.
#[derive(Debug)]
pub(super) struct Schedule {
    stream: Stream,
    /// By number, the last [`FAR`] of them.
    stamps: Vec<u64>,
    requests: u64,
    taken: u64,
    first_at: u64,
    interval: Option<f64>,
}

/// A turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// Of the request.
    pub(super) number: u64,
    /// When it was due for the first time.
    pub(super) stamp: u64,
    /// When it is due now.
    pub(super) at: u64,
}

impl Schedule {
    pub(super) fn new(options: &Options, now: u64) -> Self {
        let requests = options.events.div_ceil(options.items_per_request);
        let interval = options.rate.map(|rate| 1e9 * options.items_per_request as f64 / rate);
        Self {
            stream: Stream::new(options.seed, requests, options.duplicates),
            stamps: vec![0; FAR as usize],
            requests,
            taken: 0,
            first_at: now + interval.map_or(0, |_| clock::nanoseconds(HEAD_START)),
            interval,
        }
    }

    /// How many turns there are in all.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// How many different requests are left.
    pub(super) fn firsts(&self) -> u64 {
        self.stream.firsts()
    }

    /// When the first one is due.
    pub(super) fn first_at(&self) -> u64 {
        self.first_at
    }

    /// The time between two, in nanoseconds, if there is a rate.
    pub(super) fn interval(&self) -> Option<f64> {
        self.interval
    }

    /// Takes the next turn. Flat out it is due now.
    pub(super) fn next(&mut self, now: impl FnOnce() -> u64) -> Option<Due> {
        let turn = self.stream.next()?;
        let at = self.interval.map_or_else(now, |interval| due(self.first_at, interval, self.taken));
        self.taken += 1;
        let (Turn::First(number) | Turn::Again(number)) = turn;
        let stamp = &mut self.stamps[(number % FAR) as usize];
        if let Turn::First(_) = turn {
            *stamp = at;
        }
        Some(Due { number, stamp: *stamp, at })
    }
}

/// When a turn is due at a rate.
pub(super) fn due(first_at: u64, interval: f64, turn: u64) -> u64 {
    first_at + (interval * turn as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: Option<f64>, items: u64) -> Schedule {
        let options = Options {
            url: "http://localhost/".parse().unwrap(),
            app_secret: String::new(),
            events: 1000,
            duplicates: 0.5,
            items_per_request: items,
            connections: 1,
            rate,
            seed: 1,
            prefix: String::new(),
        };
        Schedule::new(&options, 0)
    }

    fn turns(mut schedule: Schedule) -> Vec<Due> {
        let mut clock = 0;
        std::iter::from_fn(|| {
            clock += 7;
            schedule.next(|| clock)
        })
        .collect()
    }

    #[test]
    fn a_repeat_has_the_stamp_of_its_first_and_is_due_later() {
        let turns = turns(schedule(None, 1));

        for turn in &turns {
            let first = turns.iter().find(|first| first.number == turn.number).unwrap();
            assert_eq!((turn.stamp, first.stamp), (first.at, first.at));
        }
        assert!(turns.iter().any(|turn| turn.at > turn.stamp));
    }

    #[test]
    fn at_a_rate_turns_are_due_at_their_times_whatever_the_clock_says() {
        let turns = turns(schedule(Some(1000.0), 10));

        let gaps: Vec<_> = turns.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
        assert_eq!((turns.len(), gaps), (100, vec![10_000_000; 99]));
    }
}
