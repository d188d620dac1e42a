//! What a group is cut into, and how: items folded by their key, so that a transaction can be split between any two.

use std::collections::HashMap;

use database::Trouble;
use queue::Claim;
use vocabulary::{Key, KeyHash, Rejection};

use crate::unpack::{Outcome, Work};

/// Where an item stands in a group: which job, which of its raw events, which of its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct At {
    pub job: usize,
    pub raw: usize,
    pub place: usize,
}

/// What one transaction settles together; a failed one is split between its pieces.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// The items with one key. The first leads: the others are its duplicates, whatever becomes of it.
    Key { hash: KeyHash, claim: Claim, places: Vec<At> },
    /// An item that is none, for quarantine.
    Rejection(At),
    /// A raw event without items: it still has a receipt.
    Empty { job: usize, raw: usize },
}

/// What a transaction has settled.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub outcomes: HashMap<At, Outcome>,
    /// How many items are new in the ledger.
    pub fresh: usize,
    /// How many keys were `done` in Redis, and are not in the ledger.
    pub false_done: usize,
    /// Whether anything is due now.
    pub owes: bool,
    /// Whether some of it was settled by an earlier run of the same raw events.
    pub is_again: bool,
}

/// How much is worked on together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Items of a group, and so of each of its transactions.
    pub items: usize,
    /// Pieces of a transaction that Redis does not call done. What it does is looked up, has a receipt, and writes nothing else.
    pub new: usize,
    /// Bytes of a group, and so of each of its transactions.
    pub bytes: usize,
}

impl Settled {
    /// Whether it has settled the items of a key.
    pub(crate) fn knows(&self, piece: &Piece) -> bool {
        matches!(piece, Piece::Key { places, .. } if self.outcomes.contains_key(&places[0]))
    }
}

impl Piece {
    /// How many items it holds; a raw event without any counts as one.
    pub(crate) fn items(&self) -> usize {
        match self {
            Self::Key { places, .. } => places.len(),
            Self::Rejection(_) | Self::Empty { .. } => 1,
        }
    }

    /// Whether its claim says that it was committed before.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Key { claim: Claim::Done, .. })
    }

    /// The raw events that it touches, as (job, raw).
    pub(crate) fn raw_events(&self) -> impl Iterator<Item = (usize, usize)> {
        let (places, empty) = match self {
            Self::Key { places, .. } => (places.as_slice(), None),
            Self::Rejection(at) => (std::slice::from_ref(at), None),
            Self::Empty { job, raw } => (&[][..], Some((*job, *raw))),
        };
        places.iter().map(|at| (at.job, at.raw)).chain(empty)
    }
}

/// What the group consists of: items folded by their key, rejections, and raw events without items.
pub(crate) fn pieces(works: &[Work]) -> Vec<Piece> {
    let weight = works.iter().map(Work::weight).sum();
    let mut pieces: Vec<Piece> = Vec::with_capacity(weight);
    let mut by_key: HashMap<KeyHash, usize> = HashMap::with_capacity(weight);
    for (job, work) in works.iter().enumerate() {
        for (raw, raw_work) in work.raw_events.iter().enumerate() {
            if raw_work.items.is_empty() {
                pieces.push(Piece::Empty { job, raw });
            }
            for (place, item) in raw_work.items.iter().enumerate() {
                let at = At { job, raw, place };
                let Ok(event) = &item.item else {
                    pieces.push(Piece::Rejection(at));
                    continue;
                };
                let hash = KeyHash::of(&raw_work.raw_event.source_id, &event.key);
                let known = *by_key.entry(hash).or_insert(pieces.len());
                match pieces.get_mut(known) {
                    Some(Piece::Key { places, .. }) => places.push(at),
                    _ => pieces.push(Piece::Key { hash, claim: Claim::Unanswered, places: vec![at] }),
                }
            }
        }
    }
    pieces
}

/// Puts off what a chunk holds: another worker has its claim, or Postgres is away.
pub(crate) fn defer(works: &mut [Work], chunk: &[Piece]) {
    for piece in chunk {
        let places = match piece {
            Piece::Key { places, .. } => places.as_slice(),
            Piece::Rejection(at) => std::slice::from_ref(at),
            Piece::Empty { job, .. } => {
                works[*job].put_off = true;
                continue;
            }
        };
        for at in places {
            works[at.job].raw_events[at.raw].items[at.place].outcome = Outcome::Deferred;
        }
    }
}

/// Cuts the pieces into transactions of at most so much. No promise covers a raw event as a whole.
pub(crate) fn chunks(works: &[Work], pieces: Vec<Piece>, limits: Limits) -> Vec<Vec<Piece>> {
    let mut chunks = vec![Vec::new()];
    let (mut items, mut new, mut bytes) = (0, 0, 0);
    for piece in pieces {
        let (more_items, more_new, more_bytes) =
            (piece.items(), usize::from(!piece.is_done()), bytes_of(works, &piece));
        let full =
            items + more_items > limits.items || new + more_new > limits.new || bytes + more_bytes > limits.bytes;
        if full && chunks.last().is_some_and(|chunk| !chunk.is_empty()) {
            chunks.push(Vec::new());
            (items, new, bytes) = (0, 0, 0);
        }
        (items, new, bytes) = (items + more_items, new + more_new, bytes + more_bytes);
        chunks.last_mut().expect("there is always one").push(piece);
    }
    chunks
}

fn bytes_of(works: &[Work], piece: &Piece) -> usize {
    let raw = |at: &At| &works[at.job].raw_events[at.raw];
    match piece {
        Piece::Empty { .. } => 0,
        Piece::Key { places, .. } => {
            let event = raw(&places[0]).items[places[0].place].item.as_ref();
            event.map_or(0, |event| event.raw.len())
        }
        Piece::Rejection(at) => raw(at).raw_event.body.len(),
    }
}

/// Cuts a failed transaction in two; the item that fails alone goes to quarantine or, if it only met a lock, comes later.
pub(crate) fn split(works: &mut [Work], mut chunk: Vec<Piece>, trouble: Trouble) -> Vec<Vec<Piece>> {
    if chunk.len() > 1 {
        let tail = chunk.split_off(chunk.len() / 2);
        return vec![tail, chunk];
    }
    match (trouble, chunk.pop()) {
        (Trouble::Work | Trouble::Unknown, Some(Piece::Key { places, .. })) => {
            let why = |key: &Key| format!("Postgres refuses the row of {}: see the log", key.as_str().escape_debug());
            vec![refuse(works, places, "refused by Postgres", why)]
        }
        (_, Some(piece)) => {
            defer(works, &[piece]);
            Vec::new()
        }
        (_, None) => Vec::new(),
    }
}

/// Turns items that are refused into rejections of them; `why` says it in full.
pub(crate) fn refuse(
    works: &mut [Work],
    places: Vec<At>,
    reason: &'static str,
    why: impl Fn(&Key) -> String,
) -> Vec<Piece> {
    for at in &places {
        let item = &mut works[at.job].raw_events[at.raw].items[at.place].item;
        if let Ok(event) = item {
            *item = Err(Rejection { reason, detail: why(&event.key), raw: event.raw.clone(), whole: false });
        }
    }
    places.into_iter().map(Piece::Rejection).collect()
}

/// Whether some of its raw events were in nobody's hands before.
pub(crate) fn is_first(works: &[Work], chunk: &[Piece]) -> bool {
    chunk.iter().flat_map(Piece::raw_events).any(|(job, raw)| works[job].is_first(raw))
}

/// From now on its raw events may have receipts.
pub(crate) fn had_before(works: &mut [Work], chunk: &[Piece]) {
    for (job, raw) in chunk.iter().flat_map(Piece::raw_events) {
        works[job].raw_events[raw].was_touched = true;
    }
}
