//! From a job as the queue hands it over to the items in it.

use std::{sync::Arc, time::Duration};

use fail::fail_point;
use providers::{Provider, TooLarge, reason};
use queue::{Held, HeldId};
use vocabulary::{Item, Job, JobEntry, RawEvent, Rejection, Source, Stamp};

use crate::{
    kept_whole::{crash_loop, readable, rejected, undecodable},
    sources::{Sources, SourcesError},
};

/// A job, opened.
#[derive(Debug)]
pub(crate) struct Work {
    /// What to settle or defer in the queue.
    pub held: HeldId,
    /// Its raw events.
    pub raw_events: Vec<RawWork>,
    /// Whether nobody has had it before, as far as the queue knows.
    pub is_first: bool,
    /// How long ago it was deferred for the first time; zero if it never was.
    pub waited: Duration,
    /// It has been deferred for so long that it goes on without the claims that others hold.
    pub out_of_patience: bool,
    /// It comes later, although no item of it says so.
    pub put_off: bool,
    /// Each of its raw events can come again without the others: they have numbers, and were read.
    pub can_be_parted: bool,
}

/// A process may be killed once by bad luck, also while a job runs alone in it.
const UNCLEAN_ALONE: u32 = 2;

/// A raw event, split into its items.
#[derive(Debug)]
pub(crate) struct RawWork {
    /// Its name.
    pub stamp: Stamp,
    /// Itself.
    pub raw_event: RawEvent,
    /// Its source, where that is known.
    pub source: Option<Arc<Source>>,
    /// Whether this is its first way through, or a person's replay.
    pub part: Part,
    /// Its items, each with its place in the raw event.
    pub items: Vec<Place>,
    /// Whether an earlier transaction of its group was about it, committed or refused.
    pub was_touched: bool,
}

/// Which part of a raw event is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it, for the first time or again after a crash.
    All,
    /// What earlier runs did not get to, kept whole, because nobody can work on it.
    Rest,
    /// Its quarantined item, or the whole of it, on a person's word.
    Replay(Option<u32>),
}

/// An item and what became of it.
#[derive(Debug)]
pub(crate) struct Place {
    /// Which item of the raw event, from 0, or [`database::quarantine::WHOLE`].
    pub index: i32,
    /// The event, or why there is none.
    pub item: Item,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing yet.
    Waiting,
    /// The ledger has it, by this raw event.
    Committed,
    /// The ledger has it, by another raw event; or its twin in this one.
    Duplicate,
    /// In quarantine.
    Quarantined,
    /// Another worker holds its claim, or Postgres is away: later.
    Deferred,
}

impl Work {
    /// How many items it has; a raw event without any still needs its receipt, and counts as one.
    pub(crate) fn weight(&self) -> usize {
        self.raw_events.iter().map(|raw| raw.items.len().max(1)).sum()
    }

    /// Whether nobody has had this raw event before, as far as anybody knows: then it has no receipt.
    pub(crate) fn is_first(&self, raw: usize) -> bool {
        self.is_first && !self.raw_events[raw].was_touched
    }

    /// Whether all of it is done with.
    pub(crate) fn is_settled(&self) -> bool {
        !self.put_off && self.raw_events.iter().all(RawWork::is_settled)
    }

    /// Whether some of its raw events are done with, so that only the others have to come again.
    pub(crate) fn is_partly_settled(&self) -> bool {
        self.can_be_parted && !self.put_off && self.raw_events.iter().any(RawWork::is_settled)
    }

    /// The raw events that are not done with.
    pub(crate) fn rest(&self) -> Vec<(Stamp, JobEntry)> {
        let left = self.raw_events.iter().filter(|raw| !raw.is_settled());
        let entry = |raw: &RawWork| JobEntry { raw_event: raw.raw_event.clone(), replay: None };
        left.map(|raw| (raw.stamp.clone(), entry(raw))).collect()
    }

    /// How many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.raw_events.iter().map(|raw| raw.raw_event.body.len()).sum()
    }
}

impl RawWork {
    /// The account of its source; empty where the source is unknown.
    pub(crate) fn account_id(&self) -> &str {
        self.source.as_ref().map_or("", |source| source.account_id.as_str())
    }

    /// Its provider's name, the first part of what a webhook about no message is called.
    pub(crate) fn provider(&self) -> &str {
        self.source.as_ref().map_or("", |source| &source.provider)
    }

    fn is_settled(&self) -> bool {
        self.items.iter().all(|item| !matches!(item.outcome, Outcome::Waiting | Outcome::Deferred))
    }
}

/// Opens a job. Whatever cannot be opened becomes a rejection of the raw events that it carried: nothing is dropped.
///
/// A job that was deferred for longer than `patience` waits for nobody's claim any more.
pub(crate) async fn unpack(held: Held, sources: &Sources, patience: Duration) -> Work {
    let (is_first, waited) = (is_first(&held), waited(&held));
    let entries = match Job::decode_each(&held.payload) {
        Ok(entries) => entries,
        Err(error) => return undecodable(held, &error),
    };
    if held.unclean_alone >= UNCLEAN_ALONE {
        return crash_loop(held, entries);
    }
    // A job that is parted is written anew, and what cannot be kept would not be what it was.
    let can_be_parted = held.first.is_some()
        && entries.len() == held.count as usize
        && entries.iter().all(|(_, unkeepable)| unkeepable.is_none());
    let mut raw_events = Vec::with_capacity(entries.len());
    for (place, (entry, unkeepable)) in entries.into_iter().enumerate() {
        let (stamp, part) = name(&held, place, &entry);
        let (raw_event, rejection) = readable(entry, unkeepable);
        if let Some(rejection) = rejection {
            raw_events.push(rejected(stamp, part, raw_event, rejection));
            continue;
        }
        fail_point!(&format!("worker-opens-{}", raw_event.source_id));
        match sources.get(&raw_event.source_id).await {
            Ok(source) => raw_events.push(open(stamp, part, raw_event, source)),
            Err(error) => return put_off(held, &error),
        }
    }
    let out_of_patience = waited > patience;
    Work { held: held.id, raw_events, is_first, waited, out_of_patience, put_off: false, can_be_parted }
}

pub(crate) fn is_first(held: &Held) -> bool {
    held.deferred_for.is_none() && held.unclean_starts == 0
}

pub(crate) fn waited(held: &Held) -> Duration {
    held.deferred_for.unwrap_or_default()
}

/// A job of whose source nobody can say anything now.
fn put_off(held: Held, error: &SourcesError) -> Work {
    tracing::warn!(error = error as &dyn std::error::Error, job.id = %held.id, "a job is put off");
    let (is_first, waited, raw_events) = (false, waited(&held), Vec::new());
    Work { held: held.id, raw_events, is_first, waited, out_of_patience: false, put_off: true, can_be_parted: false }
}

/// The stamp of the n-th raw event of a job. One of more than its name says has no number.
pub(crate) fn name(held: &Held, place: usize, entry: &JobEntry) -> (Stamp, Part) {
    let place = place as u64;
    match (&entry.replay, &held.first) {
        (Some(replay), _) => (replay.stamp.clone(), Part::Replay(replay.item)),
        (None, Some(first)) if place < u64::from(held.count) => {
            let incarnation = first.incarnation.clone();
            (Stamp { incarnation, number: first.number + place }, Part::All)
        }
        (None, _) => (foreign(held, place), Part::All),
    }
}

pub(crate) fn foreign(held: &Held, place: u64) -> Stamp {
    Stamp { incarnation: held.id.as_incarnation(), number: place + 1 }
}

fn open(stamp: Stamp, part: Part, raw_event: RawEvent, source: Option<Arc<Source>>) -> RawWork {
    let provider = source.as_ref().and_then(|source| source.provider.parse::<Provider>().ok());
    let (part, items) = match (&source, provider) {
        (Some(source), Some(provider)) => split(part, source, provider, &raw_event),
        (Some(source), None) => (part, vec![unknown_provider(source, &raw_event)]),
        (None, _) => (part, vec![unknown_source(&raw_event)]),
    };
    RawWork { items: places(items, part), source, stamp, raw_event, part, was_touched: false }
}

/// Its items. What is larger than its source takes came in at a door that does not know of sources, and is kept whole: all of
/// it, or what earlier runs under a larger limit have left. A replay is a person's word that it is worked on all the same.
fn split(part: Part, source: &Source, provider: Provider, raw_event: &RawEvent) -> (Part, Vec<Item>) {
    let checked = provider.door(source.body_limit, &source.settings).check(raw_event.body.len());
    match (part, checked) {
        (Part::All, Err(error)) => (Part::Rest, vec![too_large(source, error, raw_event)]),
        _ => (part, provider.split(source, raw_event)),
    }
}

/// Numbers the items; of a replay, keeps the one that was asked for.
pub(crate) fn places(items: Vec<Item>, part: Part) -> Vec<Place> {
    let numbered = items.into_iter().enumerate().map(|(index, item)| {
        let whole = matches!(&item, Err(rejection) if rejection.whole);
        let index = if whole { database::quarantine::WHOLE } else { i32::try_from(index).unwrap_or(i32::MAX) };
        Place { index, item, outcome: Outcome::Waiting }
    });
    match part {
        Part::Replay(Some(wanted)) => numbered.filter(|place| i64::from(place.index) == i64::from(wanted)).collect(),
        _ => numbered.collect(),
    }
}

fn too_large(source: &Source, error: TooLarge, raw_event: &RawEvent) -> Item {
    let detail = format!("source {}: {error} (its --max-body): replay it to have it taken all the same", source.id);
    Err(Rejection { reason: reason::TOO_LARGE, detail, raw: raw_event.body.clone(), whole: true })
}

fn unknown_source(raw_event: &RawEvent) -> Item {
    let detail = format!("there is no source {}: add it, then replay", raw_event.source_id);
    Err(Rejection { reason: "unknown source", detail, raw: raw_event.body.clone(), whole: true })
}

fn unknown_provider(source: &Source, raw_event: &RawEvent) -> Item {
    let detail = format!("this latchhook does not know the provider {}: upgrade it, then replay", source.provider);
    Err(Rejection { reason: "unknown provider", detail, raw: raw_event.body.clone(), whole: true })
}
