//! What nobody can work on: kept whole, each raw event under its own number, for a person to look at and to replay.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use queue::Held;
use vocabulary::{Decoded, Job, JobEntry, RawEvent, Rejection, Stamp, Undecodable, Unkeepable};

use crate::unpack::{Part, RawWork, Work, foreign, is_first, name, places, waited};

/// Which raw event of an undecodable job one is, from 0, is kept as a header of it. No header of a request is called so.
const PLACE: &str = "place in the job";

/// The raw event of an entry; and why it can only be kept, if that is so.
///
/// What an undecodable job carried is read again when it is replayed: another version may be able to.
pub(crate) fn readable(entry: JobEntry, unkeepable: Option<Unkeepable>) -> (RawEvent, Option<Rejection>) {
    if let Some(place) = place_in_the_job(&entry).filter(|_| unkeepable.is_none()) {
        return match Job::decode_each(&entry.raw_event.body) {
            Ok(mut entries) if place < entries.len() => as_kept(entries.swap_remove(place)),
            Ok(entries) => none_there(entry.raw_event, entries.len()),
            Err(error) => (entry.raw_event.clone(), Some(rejected_job(&error, &entry.raw_event.body))),
        };
    }
    as_kept((entry, unkeepable))
}

fn as_kept((entry, unkeepable): Decoded) -> (RawEvent, Option<Rejection>) {
    let Some(unkeepable) = unkeepable else { return (entry.raw_event, None) };
    let raw_event = entry.raw_event.keepable();
    let detail = format!("{unkeepable}: all else of it is kept, and is what a replay takes");
    let rejection = Rejection { reason: "cannot be kept", detail, raw: raw_event.body.clone(), whole: true };
    (raw_event, Some(rejection))
}

fn none_there(raw_event: RawEvent, count: usize) -> (RawEvent, Option<Rejection>) {
    let detail = format!("the job holds only {count} of the raw events that its name promises: discard this one");
    let rejection = Rejection { reason: UNDECODABLE, detail, raw: raw_event.body.clone(), whole: true };
    (raw_event, Some(rejection))
}

fn place_in_the_job(entry: &JobEntry) -> Option<usize> {
    let RawEvent { source_id, headers, .. } = &entry.raw_event;
    let [(name, place)] = headers.as_slice() else { return None };
    let is_replay = entry.replay.as_ref().is_some_and(|replay| replay.item.is_none());
    place.parse().ok().filter(|_| is_replay && name == PLACE && *source_id == no_source())
}

/// A raw event of which nothing is left to do but to keep it.
pub(crate) fn rejected(stamp: Stamp, part: Part, raw_event: RawEvent, rejection: Rejection) -> RawWork {
    let items = places(vec![Err(rejection)], part);
    RawWork { stamp, raw_event, source: None, part, items, was_touched: false }
}

/// A job that killed its process when nothing else ran there. Its bytes are not looked into again: what looks into them may
/// be what dies.
pub(crate) fn crash_loop(held: Held, entries: Vec<Decoded>) -> Work {
    tracing::error!(job.id = %held.id, deaths = held.unclean_alone, "a job kills its process; it goes to quarantine");
    let raw_events = entries.into_iter().enumerate().map(|(place, (entry, _))| {
        let (stamp, part) = name(&held, place, &entry);
        let (raw_event, part) = (entry.raw_event.keepable(), if part == Part::All { Part::Rest } else { part });
        let rejection = crashes(held.unclean_alone, &raw_event);
        rejected(stamp, part, raw_event, rejection)
    });
    given_up(&held, raw_events.collect())
}

fn crashes(deaths: u32, raw_event: &RawEvent) -> Rejection {
    let detail = format!(
        "{deaths} processes died, or panicked, while they worked on it and on nothing else: find out why (its bytes, the \
         log, the kernel's log), upgrade, then replay"
    );
    Rejection { reason: "crash loop", detail, raw: raw_event.body.clone(), whole: true }
}

/// A job that is none: its bytes are kept under each number that it was to carry.
pub(crate) fn undecodable(held: Held, error: &Undecodable) -> Work {
    let received_at = DateTime::<Utc>::UNIX_EPOCH;
    let raw_events = (0..u64::from(held.count.max(1))).map(|place| {
        let stamp = match &held.first {
            Some(first) => Stamp { incarnation: first.incarnation.clone(), number: first.number + place },
            None => foreign(&held, place),
        };
        let headers = vec![(PLACE.to_owned(), place.to_string())];
        let raw_event = RawEvent { source_id: no_source(), received_at, headers, body: held.payload.clone() };
        rejected(stamp, Part::All, raw_event, rejected_job(error, &held.payload))
    });
    given_up(&held, raw_events.collect())
}

/// A job of which nothing is left to do but to keep it.
fn given_up(held: &Held, raw_events: Vec<RawWork>) -> Work {
    let (id, is_first, waited) = (held.id.clone(), is_first(held), waited(held));
    Work { held: id, raw_events, is_first, waited, out_of_patience: true, put_off: false, can_be_parted: false }
}

const UNDECODABLE: &str = "undecodable job";

fn rejected_job(error: &Undecodable, payload: &Bytes) -> Rejection {
    Rejection { reason: UNDECODABLE, detail: error.to_string(), raw: payload.clone(), whole: true }
}

fn no_source() -> vocabulary::SourceId {
    "unknown".parse().expect("the word is an id")
}
