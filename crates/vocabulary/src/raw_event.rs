//! One inbound HTTP request as it came, and the number that it carries from then on.

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};

use crate::{SourceId, hash};

/// The longest name of a foreign job that is kept as it is. Shorter than a hash is with what stands before it, so that none
/// can be called like another's hash.
const MOST_PLAIN: usize = 64;
/// Of a header that somebody else has named.
const LONGEST_NAME: usize = 64;

/// One inbound HTTP request as it came: bytes, a few headers, when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    /// Where it came from.
    pub source_id: SourceId,
    /// When it was received, by the producer's clock.
    pub received_at: DateTime<Utc>,
    /// The headers that the source's provider needs later, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte as it was signed.
    pub body: Bytes,
}

/// What Postgres could not keep of a raw event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unkeepable {
    /// A time that no calendar has, or not everybody's.
    #[error("its time of receipt, {0} µs after 1970, is outside the years 1 to 9999")]
    Time(i64),
    /// `text` and `jsonb` hold every character but this one. The name is cut off after a line of text.
    #[error("its header {0:?} has a NUL")]
    Header(String),
    /// A name that no raw event of ours has.
    #[error("it is a replay of a raw event whose name cannot be kept")]
    Replay,
}

impl RawEvent {
    /// Whether Postgres can keep it, which whoever enqueues it is told, because whoever takes it out can only quarantine it.
    ///
    /// # Errors
    /// When it was received outside of the years 1 to 9999, or a header has a NUL.
    pub fn check(&self) -> Result<(), Unkeepable> {
        if !has_a_year(self.received_at) {
            return Err(Unkeepable::Time(self.received_at.timestamp_micros()));
        }
        match self.headers.iter().find(|header| has_a_nul(header)) {
            Some((name, _)) => Err(Unkeepable::Header(name.chars().take(LONGEST_NAME).collect())),
            None => Ok(()),
        }
    }

    /// What of it Postgres can keep: without the headers that it cannot, and of 1970 where its time is none.
    pub fn keepable(mut self) -> Self {
        self.headers.retain(|header| !has_a_nul(header));
        if !has_a_year(self.received_at) {
            self.received_at = DateTime::UNIX_EPOCH;
        }
        self
    }
}

fn has_a_year(time: DateTime<Utc>) -> bool {
    (1..=9999).contains(&time.year())
}

fn has_a_nul((name, value): &(String, String)) -> bool {
    name.contains('\0') || value.contains('\0')
}

/// One life of the queue's memory. A queue that has lost its memory starts a new one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Incarnation(Arc<str>);

impl Incarnation {
    /// What the incarnations of jobs begin with that did not come through our producer: nobody has numbered them, so nobody
    /// can miss one.
    pub const FOREIGN: &str = "foreign-";

    /// The incarnation of a job that did not come through our producer. A name that Postgres could not keep, or that would
    /// read like another, is hashed: whoever put the job in may have called it anything.
    pub fn foreign(job: &[u8]) -> Self {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(byte);
        match std::str::from_utf8(job) {
            Ok(name) if job.iter().all(is_plain) && (1..=MOST_PLAIN).contains(&name.len()) => {
                Self::new(&format!("{}{name}", Self::FOREIGN))
            }
            _ => Self::new(&format!("{}sha256:{}", Self::FOREIGN, hash::of_job_name(job))),
        }
    }

    /// Takes the name as the queue gives it.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What identifies a raw event: the queue's incarnation and the next number in it, without gaps, from 1.
///
/// Given by the script that enqueues, so that a number exists exactly when the queue holds its raw event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// Which life of the queue.
    pub incarnation: Incarnation,
    /// Which raw event in it.
    pub number: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.incarnation, self.number)
    }
}

/// Why a string is no stamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no raw event's name: it looks like INCARNATION-NUMBER")]
pub struct StampError(String);

impl FromStr for Stamp {
    type Err = StampError;

    fn from_str(text: &str) -> Result<Self, StampError> {
        let parsed = text.rsplit_once('-').and_then(|(incarnation, number)| {
            let number = number.parse().ok()?;
            (!incarnation.is_empty()).then(|| Self { incarnation: Incarnation::new(incarnation), number })
        });
        parsed.ok_or_else(|| StampError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_jobs_of_different_names_have_different_incarnations_that_can_be_kept() {
        let long = [b'a'; 65];
        let names: [&[u8]; 8] = [b"job-1", b"", b"\0", b"\xff", b"\xfe", b"a b", &long[..64], &long];

        let incarnations = names.map(Incarnation::foreign);

        assert_eq!(incarnations[0].as_str(), "foreign-job-1");
        for (place, incarnation) in incarnations.iter().enumerate() {
            assert!(incarnation.as_str().len() <= 80 && incarnation.as_str().bytes().all(|b| b.is_ascii_graphic()));
            assert!(!incarnations[..place].contains(incarnation), "{incarnation}");
            assert_eq!(Incarnation::foreign(names[place]), *incarnation);
        }
    }
}
