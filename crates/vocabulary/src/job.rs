//! What the queue carries: one or more raw events in one job, as MessagePack.
//!
//! A job is versioned from its first day, because queued jobs outlive a deploy. Its numbers are *not* in here: the script
//! that enqueues gives them (it is the only place that knows the next one), and the job is called by them.
//!
//! Version 1, an array of two: `[1, [entry, …]]`, an entry being
//! `[source_id, received_at in µs since 1970, [[name, value], …], body as bin, replay or nil]`, a replay being
//! `[incarnation, number, item]`.

use std::io::ErrorKind;

use bytes::Bytes;
use chrono::DateTime;
use rmp_serde::decode::Error as DecodeError;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{Incarnation, RawEvent, SourceId, Stamp, Unkeepable};

const VERSION: u8 = 1;
/// About what an entry takes beside its body; more is no harm.
const BESIDE_A_BODY: usize = 192;

/// One or more raw events that travel, and are settled, together. Each keeps its own number, receipt and outcome.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Job {
    /// The raw events, in the order of their numbers.
    pub entries: Vec<JobEntry>,
}

/// One raw event of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEntry {
    /// The raw event itself.
    pub raw_event: RawEvent,
    /// Set when a person asked for it to be processed again: it then has its old stamp, and gets no number.
    pub replay: Option<Replay>,
}

/// Which part of which earlier raw event a replay repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The stamp that the raw event had, and keeps.
    pub stamp: Stamp,
    /// The item that was quarantined, counted from 0; `None` is the raw event as a whole.
    pub item: Option<u32>,
}

/// Why bytes are no job.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// Made by a newer latchhook, or not by latchhook.
    #[error("the job is of version {0}, this latchhook reads version {VERSION}")]
    Version(u8),
    /// Not MessagePack of the shape above.
    #[error("the job is not readable as version {VERSION}")]
    Shape(#[source] DecodeError),
    /// There is something behind the job: bytes were damaged that say how much belongs to it, and raw events are missing.
    #[error("the job has bytes behind its end")]
    Longer,
    /// A job for Postgres to keep, and it cannot.
    #[error("a raw event of the job cannot be kept")]
    Unkeepable(#[from] Unkeepable),
}

/// An entry as it was read, and what of it Postgres could not keep.
pub type Decoded = (JobEntry, Option<Unkeepable>);

/// As it is read. It is written as tuples of what is borrowed: the same arrays.
#[derive(Deserialize)]
struct Wire<'a>(u8, #[serde(borrow)] Vec<WireEntry<'a>>);

#[derive(Deserialize)]
struct WireEntry<'a>(
    #[serde(deserialize_with = "source_id")] SourceId,
    i64,
    Vec<(String, String)>,
    #[serde(borrow, with = "serde_bytes")] &'a [u8],
    Option<(String, u64, Option<u32>)>,
);

/// Parsed where it stands, and copied once.
fn source_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SourceId, D::Error> {
    <&str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

impl Job {
    /// A job of new raw events.
    pub fn of(raw_events: impl IntoIterator<Item = RawEvent>) -> Self {
        let entries = raw_events.into_iter().map(|raw_event| JobEntry { raw_event, replay: None });
        Self { entries: entries.collect() }
    }

    /// The bytes that the queue keeps.
    pub fn encode(&self) -> Vec<u8> {
        let entries = self.entries.iter().map(|JobEntry { raw_event, replay }| {
            let replay = replay.as_ref().map(|r| (r.stamp.incarnation.as_str(), r.stamp.number, r.item));
            let RawEvent { source_id, received_at, headers, body } = raw_event;
            (source_id, received_at.timestamp_micros(), headers, serde_bytes::Bytes::new(body), replay)
        });
        let wire = (VERSION, entries.collect::<Vec<_>>());
        let bodies: usize = self.entries.iter().map(|entry| entry.raw_event.body.len() + BESIDE_A_BODY).sum();
        let mut bytes = Vec::with_capacity(bodies);
        rmp_serde::encode::write(&mut bytes, &wire).expect("MessagePack of strings and bytes into memory cannot fail");
        bytes
    }

    /// Reads what [`Job::encode`] wrote, all of it or nothing. Bodies are slices of `bytes`, not copies.
    ///
    /// # Errors
    /// When the bytes are of another version or shape, or Postgres could not keep one of the raw events.
    pub fn decode(bytes: &Bytes) -> Result<Self, Undecodable> {
        let read = |(entry, unkeepable): Decoded| unkeepable.map_or(Ok(entry), |what| Err(what.into()));
        Ok(Self { entries: Self::decode_each(bytes)?.into_iter().map(read).collect::<Result<_, Undecodable>>()? })
    }

    /// Likewise, and says of each entry what Postgres could not keep of it: that is no matter of its mates, which other
    /// callers may have sent, for other sources.
    ///
    /// # Errors
    /// When the bytes are of another version or shape; the caller quarantines them whole.
    pub fn decode_each(bytes: &Bytes) -> Result<Vec<Decoded>, Undecodable> {
        let mut reader = rmp_serde::Deserializer::from_read_ref(&bytes[..]);
        let Wire(version, entries) = match Wire::deserialize(&mut reader) {
            Ok(wire) => wire,
            Err(error) => return Err(version_of(bytes).map_or(Undecodable::Shape(error), Undecodable::Version)),
        };
        if version != VERSION {
            return Err(Undecodable::Version(version));
        }
        if !is_at_end(&mut reader) {
            return Err(Undecodable::Longer);
        }
        Ok(entries.into_iter().map(|entry| entry.read(bytes)).collect())
    }
}

impl WireEntry<'_> {
    /// As it came; but for a time that nobody has, which is 1970 here, and a replay of what cannot be kept, which is none.
    fn read(self, bytes: &Bytes) -> Decoded {
        let Self(source_id, micros, headers, body, replay) = self;
        let time = DateTime::from_timestamp_micros(micros);
        let of_nobody = replay.as_ref().is_some_and(|(incarnation, number, _)| !is_keepable(incarnation, *number));
        let replay = replay.filter(|_| !of_nobody).map(|(incarnation, number, item)| Replay {
            stamp: Stamp { incarnation: Incarnation::new(&incarnation), number },
            item,
        });
        let (received_at, body) = (time.unwrap_or_default(), bytes.slice_ref(body));
        let raw_event = RawEvent { source_id, received_at, headers, body };
        let unkeepable = match time {
            None => Some(Unkeepable::Time(micros)),
            Some(_) if of_nobody => Some(Unkeepable::Replay),
            Some(_) => raw_event.check().err(),
        };
        (JobEntry { raw_event, replay }, unkeepable)
    }
}

/// Whether Postgres can: no NUL, no more than an index holds, and a sign.
fn is_keepable(incarnation: &str, number: u64) -> bool {
    !incarnation.contains('\0') && incarnation.len() <= 1024 && i64::try_from(number).is_ok()
}

/// Whether nothing more can be read because nothing more is there.
fn is_at_end<'de>(reader: impl Deserializer<'de, Error = DecodeError>) -> bool {
    match <()>::deserialize(reader) {
        Err(DecodeError::InvalidMarkerRead(error)) => error.kind() == ErrorKind::UnexpectedEof,
        _ => false,
    }
}

/// The version of an array of two whose second half we cannot read: what a newer latchhook would write.
fn version_of(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [0x92, version @ 0..=0x7f, ..] if *version != VERSION => Some(*version),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(body: &'static [u8], replay: Option<Replay>) -> JobEntry {
        let raw_event = RawEvent {
            source_id: "wa".parse().unwrap(),
            received_at: DateTime::from_timestamp_micros(1_771_000_000_123_456).unwrap(),
            headers: vec![("x-hub-signature-256".into(), "sha256=00".into())],
            body: Bytes::from_static(body),
        };
        JobEntry { raw_event, replay }
    }

    #[test]
    fn a_job_comes_back_as_it_went_in_whatever_bytes_a_body_holds() {
        let replay = Replay { stamp: "inc-7".parse().unwrap(), item: Some(3) };
        let job = Job { entries: vec![entry(b"\0\xff{\"a\":1}", None), entry(b"", Some(replay))] };

        let bytes = Bytes::from(job.encode());

        assert_eq!(Job::decode(&bytes).unwrap(), job);
    }

    /// Two raw events of which a damaged count leaves one: the other would be gone without a word.
    #[test]
    fn a_job_that_says_it_is_shorter_than_it_is_is_not_read() {
        let mut bytes = Job { entries: vec![entry(b"first", None), entry(b"second", None)] }.encode();
        assert_eq!(bytes[2], 0x92, "an array of two");

        bytes[2] = 0x91;

        assert!(matches!(Job::decode(&bytes.into()), Err(Undecodable::Longer)));
    }

    #[test]
    fn of_what_postgres_could_not_keep_it_is_said_why_and_its_mates_are_read() {
        let mut odd = [entry(b"time", None), entry(b"header", None)];
        odd[0].raw_event.received_at = DateTime::from_timestamp(-99_999_999_999, 0).unwrap();
        odd[1].raw_event.headers.push(("x-id".into(), "\0".into()));
        let long = "x".repeat(1025);
        let replays = [("\0", 1), ("inc", u64::MAX), (&*long, 1)].map(|(incarnation, number)| {
            let stamp = Stamp { incarnation: Incarnation::new(incarnation), number };
            entry(b"replay", Some(Replay { stamp, item: None }))
        });

        for (odd, why) in odd.into_iter().chain(replays).zip(["outside the years", "\"x-id\"", "name", "name", "name"])
        {
            let bytes = Job { entries: vec![entry(b"one", None), odd.clone(), entry(b"two", None)] }.encode().into();

            let [one, (kept, unkeepable), two] = Job::decode_each(&bytes).unwrap().try_into().unwrap();

            assert!(matches!(Job::decode(&bytes), Err(Undecodable::Unkeepable(_))), "{odd:?}");
            assert_eq!([one, two], [&b"one"[..], b"two"].map(|body| (entry(body, None), None)));
            let (why_not, kept) = (unkeepable.unwrap().to_string(), kept.raw_event.keepable());
            assert!(why_not.contains(why), "{why_not}");
            assert_eq!((&kept.body, kept.check()), (&odd.raw_event.body, Ok(())));
        }
    }

    #[test]
    fn a_time_that_no_calendar_has_is_none() {
        let mut bytes = Job { entries: vec![entry(b"", None)] }.encode();
        let at = bytes.windows(8).position(|it| it == 1_771_000_000_123_456_i64.to_be_bytes()).unwrap();
        bytes[at..at + 8].copy_from_slice(&0x7fff_ffff_ffff_ffff_i64.to_be_bytes());

        let (read, unkeepable) = Job::decode_each(&bytes.into()).unwrap().remove(0);

        assert_eq!((read.raw_event.received_at, unkeepable), (DateTime::UNIX_EPOCH, Some(Unkeepable::Time(i64::MAX))));
    }

    #[test]
    fn a_job_of_a_newer_version_is_told_from_one_that_is_broken() {
        let newer = Bytes::from_static(&[0x92, 9, 0xc0]);
        assert!(matches!(Job::decode(&newer), Err(Undecodable::Version(9))));

        for broken in [&b"not a job"[..], b"", b"{\"id\":1}"] {
            assert!(matches!(Job::decode(&Bytes::from_static(broken)), Err(Undecodable::Shape(_))));
        }
    }
}
