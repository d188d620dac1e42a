//! What a job is called: `INCARNATION-FIRST-COUNT`, so that the pending numbers can be read off the names alone.
//!
//! A job without new raw events (a replay) is called `replay-RANDOM`. Neither form is an integer, a UUID or a ULID,
//! which apalis would print differently from how it was written.

use rand::Rng;
use vocabulary::{Incarnation, Stamp};

const INCARNATION_LEN: usize = 16;
/// More raw events than any job of ours has: a producer ends one at a mebibyte, and none counts for less than 256 bytes. A
/// worker that believed a stranger's four billion would be killed by them.
const MOST_RAW_EVENTS: u32 = 4096;

/// A name for a job that gets no number.
pub(crate) fn for_replay() -> String {
    format!("replay-{:032x}", rand::rng().random::<u128>())
}

/// The name of a job of so many raw events, as `enqueue.v1.lua` writes it.
pub(crate) fn of(incarnation: &Incarnation, first: u64, count: u32) -> String {
    format!("{}-{first}-{count}", incarnation.as_str())
}

/// The first stamp of a job, and how many follow each other. `None` for what we did not stamp.
pub(crate) fn parse(id: &[u8]) -> Option<(Stamp, u32)> {
    let mut parts = std::str::from_utf8(id).ok()?.split('-');
    let (incarnation, first, count) = (parts.next()?, parts.next()?, parts.next()?);
    let is_incarnation = incarnation.len() == INCARNATION_LEN && incarnation.bytes().all(|b| b.is_ascii_hexdigit());
    let (number, count) = (first.parse().ok()?, count.parse().ok()?);
    // Postgres keeps numbers with a sign.
    let is_number = (1..=i64::MAX as u64 - u64::from(MOST_RAW_EVENTS)).contains(&number);
    let is_stamped = is_incarnation && parts.next().is_none() && is_number && (1..=MOST_RAW_EVENTS).contains(&count);
    is_stamped.then(|| (Stamp { incarnation: Incarnation::new(incarnation), number }, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_stamped_is_read_as_a_stamp() {
        let incarnation = "00ff00ff00ff00ff";
        let (stamp, count) = parse(format!("{incarnation}-7-3").as_bytes()).unwrap();
        assert_eq!((stamp.to_string(), count), (format!("{incarnation}-7"), 3));

        let foreign =
            ["", "42", "job-2024-10", "550e8400-e29b-41d4-a716-446655440000", "00ff00ff00ff00ff-0-1", "\u{fffd}"];
        let too_many = ["00ff00ff00ff00ff-1-4097", "00ff00ff00ff00ff-9223372036854775807-1"];
        for id in foreign.iter().chain(&too_many).copied().chain([for_replay().as_str()]) {
            assert_eq!(parse(id.as_bytes()), None, "{id}");
        }
        assert_eq!(parse(b"\xff\xfe-1-1"), None);
    }
}
