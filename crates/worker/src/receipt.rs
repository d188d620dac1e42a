//! The receipts of the raw events that a transaction touches, written last: how far each has got.
//!
//! The numbers say what is true of the raw event, not what this run did, so a run that repeats an earlier one adds nothing.

use std::collections::BTreeSet;

use database::{
    AsyncPgConnection, QueryResult, quarantine,
    receipts::{self, Receipt},
};
use futures::join;

use crate::{
    news::root_cause,
    pieces::{At, Piece, Settled},
    unpack::{Outcome, Part, RawWork, Work},
};

/// Receipts, last: how far each raw event has got, counting what this transaction settles.
pub(crate) async fn write(
    conn: &AsyncPgConnection,
    works: &[Work],
    pieces: impl Iterator<Item = &Piece>,
    settled: &Settled,
) -> QueryResult<()> {
    let touched: BTreeSet<(usize, usize)> = pieces.flat_map(Piece::raw_events).collect();
    let mut receipts: Vec<(Receipt<'_>, bool)> = Vec::new();
    for (job, raw) in touched {
        let is_first = works[job].is_first(raw) && !settled.is_again;
        let work = &works[job].raw_events[raw];
        let outcomes = work
            .items
            .iter()
            .enumerate()
            .map(|(place, item)| settled.outcomes.get(&At { job, raw, place }).copied().unwrap_or(item.outcome));
        let outcomes: Vec<_> = outcomes.collect();
        match work.part {
            Part::All => receipts.push((receipt(work, &outcomes), is_first)),
            Part::Rest => receipts::put_rest(conn, &work.stamp, work.raw_event.source_id.as_str()).await?,
            Part::Replay(item) => correct(conn, work, item, &outcomes).await?,
        }
    }
    receipts.sort_by(|(a, _), (b, _)| a.stamp.cmp(b.stamp));
    // A raw event may be here twice, if Redis has forgotten that it gave it to us.
    receipts.dedup_by(|(a, a_is_first), (b, b_is_first)| {
        let is_again = a.stamp == b.stamp;
        *b_is_first &= !is_again || *a_is_first;
        is_again
    });
    let (firsts, others): (Vec<_>, Vec<_>) = receipts.into_iter().partition(|(_, is_first)| *is_first);
    let [firsts, others] =
        [firsts, others].map(|some| some.into_iter().map(|(receipt, _)| receipt).collect::<Vec<_>>());
    // Where there is a receipt all the same nothing is written, and the caller tries again, knowing better.
    let (first, other) = join!(receipts::put_first(conn, &firsts), receipts::put(conn, &others));
    root_cause([first, other])
}

fn count(outcomes: &[Outcome], outcome: Outcome) -> i32 {
    i32::try_from(outcomes.iter().filter(|known| **known == outcome).count()).unwrap_or(i32::MAX)
}

fn is_settled(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Waiting | Outcome::Deferred)
}

fn receipt<'a>(work: &'a RawWork, outcomes: &[Outcome]) -> Receipt<'a> {
    Receipt {
        stamp: &work.stamp,
        source_id: work.raw_event.source_id.as_str(),
        items: i32::try_from(outcomes.len()).unwrap_or(i32::MAX),
        committed: count(outcomes, Outcome::Committed),
        quarantined: count(outcomes, Outcome::Quarantined),
        ended: outcomes.iter().all(is_settled),
    }
}

/// Closes the quarantined row behind a replay, once all of it is settled, and corrects the receipt by what came of it. What
/// is rejected again stays where it is.
async fn correct(conn: &AsyncPgConnection, work: &RawWork, item: Option<u32>, outcomes: &[Outcome]) -> QueryResult<()> {
    let again_whole = work.items.iter().any(|place| place.index == quarantine::WHOLE);
    let rejected = count(outcomes, Outcome::Quarantined);
    let stays = if item.is_some() { rejected > 0 } else { again_whole };
    if stays || outcomes.is_empty() && item.is_some() || !outcomes.iter().all(is_settled) {
        return Ok(());
    }
    let row = item.map_or(quarantine::WHOLE, |item| i32::try_from(item).unwrap_or(i32::MAX));
    if !quarantine::settle(conn, &work.stamp, row).await? {
        return Ok(());
    }
    match item {
        Some(_) => receipts::correct(conn, &work.stamp, outcomes.contains(&Outcome::Committed)).await,
        None => receipts::replace(conn, &receipt(work, outcomes)).await,
    }
}
