//! What a process remembers of the numbers that it was given, for a queue that forgets them.
//!
//! A Redis that was restarted without its last second, or came back empty, cannot say how far its numbers went. Whoever
//! enqueued can: the first number of a new incarnation tells it that the queue may have forgotten the last ones of the
//! earlier, and it reminds the queue. What only a process knew that died with Redis stays unknown.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use vocabulary::Incarnation;

use super::Inbound;
use crate::{RedisError, script};

/// The numbers that this process was given.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<HashMap<Incarnation, Given>>);

#[derive(Debug, Default)]
struct Given {
    last: u64,
    /// Under which incarnation the queue was told of it.
    told: Option<Incarnation>,
}

impl Memory {
    /// Keeps a number that the queue gave, and says which of earlier incarnations it has to be told again.
    fn keep(&self, now: &Incarnation, last: u64) -> Vec<(Incarnation, u64)> {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = given.entry(now.clone()).or_default();
        if last > kept.last {
            *kept = Given { last, told: None };
        }
        let earlier =
            given.iter().filter(|(incarnation, given)| *incarnation != now && given.told.as_ref() != Some(now));
        earlier.map(|(incarnation, given)| (incarnation.clone(), given.last)).collect()
    }

    fn told(&self, earlier: &Incarnation, last: u64, now: &Incarnation) {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(given) = given.get_mut(earlier).filter(|given| given.last == last) {
            given.told = Some(now.clone());
        }
    }
}

impl Inbound {
    /// Keeps what was given. A reminder that fails is sent again with the next jobs; these are enqueued whatever comes of
    /// it.
    pub(super) async fn remember(&self, now: &Incarnation, last: u64) {
        for (earlier, last) in self.memory.keep(now, last) {
            match self.remind(&earlier, last).await {
                Ok(()) => self.memory.told(&earlier, last, now),
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the queue was not reminded"),
            }
        }
    }

    async fn remind(&self, earlier: &Incarnation, last: u64) -> Result<(), RedisError> {
        let mut call = script::REMIND.key(&self.keys.incarnation);
        call.key(&self.keys.incarnations).arg(earlier.as_str()).arg(last);
        Ok(call.invoke_async(&mut self.redis.connection().await?).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_told_of_earlier_incarnations_once_by_each_that_follows() {
        let memory = Memory::default();
        let [first, second, third] = ["1", "2", "3"].map(Incarnation::new);

        assert_eq!(memory.keep(&first, 7), []);
        assert_eq!(memory.keep(&first, 5), []);
        assert_eq!(memory.keep(&second, 1), [(first.clone(), 7)]);
        memory.told(&first, 7, &second);
        assert_eq!(memory.keep(&second, 2), []);

        let mut again = memory.keep(&third, 1);
        again.sort();
        assert_eq!(again, [(first, 7), (second, 2)]);
    }
}
