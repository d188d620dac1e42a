//! Lets turns begin: all at once, or each at its time.
//!
//! A runtime's timers count in whole milliseconds, in which a fast pipeline does its work. So a thread sleeps, to about 60 µs.

use std::{sync::Arc, thread, time::Duration};

use tokio::sync::Semaphore;

use super::{super::clock, schedule};

/// Turns that may begin.
#[derive(Debug)]
pub(super) enum Pace {
    /// Any number.
    FlatOut,
    /// Those that are due.
    Kept(Arc<Semaphore>),
}

impl Pace {
    /// Lets each of so many turns begin when it is due. Ends by letting everybody see that there are no more.
    pub(super) fn keep(first_at: u64, interval: f64, turns: u64) -> Self {
        let due = Arc::new(Semaphore::new(0));
        let turns_due = due.clone();
        thread::spawn(move || {
            let mut begun = 0;
            while begun < turns {
                let now = clock::now();
                let waiting = (begun..turns).take_while(|turn| schedule::due(first_at, interval, *turn) <= now).count();
                turns_due.add_permits(waiting);
                begun += waiting as u64;
                thread::sleep(Duration::from_nanos(schedule::due(first_at, interval, begun).saturating_sub(now)));
            }
            turns_due.close();
        });
        Self::Kept(due)
    }

    /// Waits until a turn may begin.
    pub(super) async fn turn(&self) {
        if let Self::Kept(due) = self {
            // Closed, it lets everybody pass: those who still wait find that all turns are taken.
            let _ = due.acquire().await.map(tokio::sync::SemaphorePermit::forget);
        }
    }
}
