//! What a claim is called in Redis, and what stands in it.

use std::fmt;

use rand::Rng;
use vocabulary::{Key, KeyHash, SourceId};

/// The longest key that stands in its claim's name as it is. Ids of providers are shorter, and readable names help.
const MAX_PLAIN: usize = 128;

/// What is said of a run that has committed, and so of its claims. No token is like it: a token holds a colon.
pub(crate) const DONE: &[u8] = b"done";

/// What the names of claims begin with, after the prefix of all keys. Not `claim`: what stood there until each run got its lease
/// said `done` itself, and an `audit` of then reads all that begins so. While both work, neither sees the other's, and the ledger
/// decides.
pub(super) const KIND: &str = "run-claim";

/// One execution of one raw event's work. Random, so that no two executions anywhere take each other for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run(u64);

impl Run {
    /// A run that has never been.
    pub fn random() -> Self {
        Self(rand::rng().random())
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Who takes a claim: one execution of one raw event's work.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// As it stands in the claim; written once.
    token: String,
    pub(super) run: Run,
}

impl Owner {
    /// That execution of the work on the raw event of this name.
    pub fn of(raw_event: impl fmt::Display, run: Run) -> Self {
        Self { token: format!("{raw_event}:{run}"), run }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Whether a token was put there by an execution of the same raw event.
    pub(crate) fn is_same_raw_event(&self, token: &[u8]) -> bool {
        raw_event(token).is_some_and(|name| Some(name) == raw_event(self.token.as_bytes()))
    }
}

/// Whose execution a token is of: all before the last colon.
fn raw_event(token: &[u8]) -> Option<&[u8]> {
    token.rsplitn(2, |byte| *byte == b':').nth(1)
}

/// The name of the claim of one key within its source. Injective: an id holds no colon, and what is hashed has a
/// place of its own, so no two different pairs share a name.
pub(crate) fn name(prefix: &str, source: &SourceId, key: &Key) -> String {
    if key.as_str().len() <= MAX_PLAIN {
        return [prefix, KIND, source.as_str(), key.as_str()].join(":");
    }
    let hash: String = KeyHash::of(source, key).as_slice().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}:{KIND}-of-hash:{hash}")
}

/// Where it stands whether a run holds what its tokens are in, and for how long, or has committed it. `take.lua` puts such names
/// together too, from the 16 digits that a token ends with.
pub(super) fn name_of_run(prefix: &str, run: impl fmt::Display) -> String {
    format!("{prefix}:run:{run}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(source: &str, key: &str) -> String {
        name("p", &source.parse().unwrap(), &Key::new(key).unwrap())
    }

    #[test]
    fn two_different_pairs_never_share_a_name() {
        let long = "x".repeat(MAX_PLAIN + 1);
        let hashed = name_of("a", &long).rsplit_once(':').unwrap().1.to_owned();
        let pairs = [("a", "b:c"), ("a-b", "c"), ("a", "b"), ("a", "c"), ("a", &long), ("b", &long), ("a", &hashed)];
        let longer = format!("{long}y");
        let pairs = pairs.into_iter().chain([("a", longer.as_str())]);

        let names: std::collections::HashSet<_> = pairs.clone().map(|(source, key)| name_of(source, key)).collect();

        assert_eq!(names.len(), pairs.count());
        assert_eq!(name_of("wa", "wamid.1"), "p:run-claim:wa:wamid.1");
    }

    #[test]
    fn a_token_tells_the_raw_event_from_the_run_whatever_the_raw_event_is_called() {
        let run = Run::random();
        let (owner, other_run, other) =
            (Owner::of("a:b-1", run), Owner::of("a:b-1", Run::random()), Owner::of("a", run));

        assert!(owner.is_same_raw_event(other_run.token().as_bytes()));
        assert!(!owner.is_same_raw_event(other.token().as_bytes()));
        assert!(!owner.is_same_raw_event(DONE));
    }
}
