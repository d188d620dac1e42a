//! `receipts`: what became of each raw event. What makes "never lost" a thing that one can check.

use diesel::sql_types::{Array, BigInt, Bool, Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use vocabulary::Stamp;

use crate::{QueryResult, error::stale_by};

/// How far a raw event has got, in items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// Which raw event.
    pub stamp: &'a Stamp,
    /// Where it came from.
    pub source_id: &'a str,
    /// How many items it holds.
    pub items: i32,
    /// How many of them the ledger has by this very raw event.
    pub committed: i32,
    /// How many of them are in quarantine.
    pub quarantined: i32,
    /// Whether all are settled; the rest of them are duplicates then.
    pub ended: bool,
}

impl Receipt<'_> {
    /// Whether the next one differs by its number alone, and that is the next.
    fn goes_on(&self, next: &Self) -> bool {
        let counts = |receipt: &Self| (receipt.items, receipt.committed, receipt.quarantined, receipt.ended);
        self.stamp.number.checked_add(1) == Some(next.stamp.number)
            && self.stamp.incarnation == next.stamp.incarnation
            && self.source_id == next.source_id
            && counts(self) == counts(next)
    }
}

statement! {
    /// Raw events that came one after the other, and of which the same became, are one row. A receipt that has ended is final:
    /// a zombie's second run does not rewrite it.
    Put {
        incarnations: Vec<&'a str> => Array<Text>,
        firsts: Vec<i64> => Array<BigInt>,
        lasts: Vec<i64> => Array<BigInt>,
        sources: Vec<&'a str> => Array<Text>,
        items: Vec<i32> => Array<Integer>,
        committed: Vec<i32> => Array<Integer>,
        quarantined: Vec<i32> => Array<Integer>,
        ended: Vec<bool> => Array<Bool>,
    } -> (),
    "INSERT INTO receipts AS r (incarnation, number, source_id, items, committed, quarantined, ended_at) \
     SELECT incarnation, number, source_id, items, committed, quarantined, CASE WHEN ended THEN now() END \
     FROM unnest(?, ?, ?, ?, ?, ?, ?, ?) AS n (incarnation, first, last, source_id, items, committed, quarantined, ended) \
     CROSS JOIN generate_series(first, last) AS number ORDER BY incarnation, number \
     ON CONFLICT (incarnation, number) DO UPDATE SET items = excluded.items, committed = excluded.committed, \
     quarantined = excluded.quarantined, ended_at = excluded.ended_at WHERE r.ended_at IS NULL"
}

impl<'a> Put<'a> {
    fn of(receipts: &'a [Receipt<'a>]) -> Self {
        let runs = || receipts.chunk_by(Receipt::goes_on);
        let firsts: Vec<_> = runs().filter_map(<[_]>::first).collect();
        let lasts = runs().filter_map(<[_]>::last);
        Self {
            incarnations: firsts.iter().map(|first| first.stamp.incarnation.as_str()).collect(),
            firsts: firsts.iter().map(|first| first.stamp.number.cast_signed()).collect(),
            lasts: lasts.map(|last| last.stamp.number.cast_signed()).collect(),
            sources: firsts.iter().map(|first| first.source_id).collect(),
            items: firsts.iter().map(|first| first.items).collect(),
            committed: firsts.iter().map(|first| first.committed).collect(),
            quarantined: firsts.iter().map(|first| first.quarantined).collect(),
            ended: firsts.iter().map(|first| first.ended).collect(),
            lifetime: std::marker::PhantomData,
        }
    }
}

statement! {
    /// Likewise, at half the price.
    PutFirst of Put -> (),
    "INSERT INTO receipts (incarnation, number, source_id, items, committed, quarantined, ended_at) \
     SELECT incarnation, number, source_id, items, committed, quarantined, CASE WHEN ended THEN now() END \
     FROM unnest(?, ?, ?, ?, ?, ?, ?, ?) AS n (incarnation, first, last, source_id, items, committed, quarantined, ended) \
     CROSS JOIN generate_series(first, last) AS number"
}

/// Writes how far some raw events have got. A run that repeats an earlier one adds nothing twice: the numbers are what is
/// true of the raw event, not what this run did.
///
/// # Errors
/// As any query.
pub async fn put(conn: &AsyncPgConnection, receipts: &[Receipt<'_>]) -> QueryResult<()> {
    if receipts.is_empty() {
        return Ok(());
    }
    Put::of(receipts).execute(&mut &*conn).await.map(drop)
}

/// Likewise, for raw events that have no receipts yet.
///
/// # Errors
/// As any query; `NotFound` when one of them has a receipt all the same: then nothing is written.
pub async fn put_first(conn: &AsyncPgConnection, receipts: &[Receipt<'_>]) -> QueryResult<()> {
    if receipts.is_empty() {
        return Ok(());
    }
    PutFirst(Put::of(receipts)).execute(&mut &*conn).await.map(drop).map_err(stale_by("receipts_pkey"))
}

statement! {
    PutRest { incarnation: &'a str => Text, number: i64 => BigInt, source_id: &'a str => Text } -> (),
    "INSERT INTO receipts AS r (incarnation, number, source_id, items, committed, quarantined, ended_at) \
     VALUES (?, ?, ?, 1, 0, 1, now()) \
     ON CONFLICT (incarnation, number) DO UPDATE SET items = r.committed + r.quarantined + 1, \
     quarantined = r.quarantined + 1, ended_at = excluded.ended_at WHERE r.ended_at IS NULL"
}

/// Ends the receipt of a raw event that nobody can work on to its end: what it had settled by then counts, and the rest of
/// it, kept whole, counts as one item in quarantine.
///
/// # Errors
/// As any query.
pub async fn put_rest(conn: &AsyncPgConnection, stamp: &Stamp, source_id: &str) -> QueryResult<()> {
    let (incarnation, number) = (stamp.incarnation.as_str(), stamp.number.cast_signed());
    let statement = PutRest { incarnation, number, source_id, lifetime: std::marker::PhantomData };
    statement.execute(&mut &*conn).await.map(drop)
}

statement! {
    Replace { items: i32 => Integer, committed: i32 => Integer, quarantined: i32 => Integer, incarnation: &'a str => Text,
              number: i64 => BigInt } -> (),
    "UPDATE receipts SET items = ?, committed = ?, quarantined = ? WHERE incarnation = ? AND number = ?"
}

/// Writes what a replay of a whole raw event found true of it. The caller does so in the transaction that closes the
/// quarantined row, once.
///
/// # Errors
/// As any query.
pub async fn replace(conn: &AsyncPgConnection, receipt: &Receipt<'_>) -> QueryResult<()> {
    let statement = Replace {
        items: receipt.items,
        committed: receipt.committed,
        quarantined: receipt.quarantined,
        incarnation: receipt.stamp.incarnation.as_str(),
        number: receipt.stamp.number.cast_signed(),
        lifetime: std::marker::PhantomData,
    };
    statement.execute(&mut &*conn).await.map(drop)
}

statement! {
    Correct { committed: i32 => Integer, incarnation: &'a str => Text, number: i64 => BigInt } -> (),
    "UPDATE receipts SET committed = committed + ?, quarantined = quarantined - 1 WHERE incarnation = ? AND number = ?"
}

/// Takes one item of a raw event that had ended out of quarantine; says whether the ledger has it now, by this very raw
/// event. The caller does so in the transaction that closes the quarantined row, once.
///
/// # Errors
/// As any query.
pub async fn correct(conn: &AsyncPgConnection, stamp: &Stamp, is_committed: bool) -> QueryResult<()> {
    let (incarnation, number) = (stamp.incarnation.as_str(), stamp.number.cast_signed());
    let statement = Correct { committed: is_committed.into(), incarnation, number, lifetime: std::marker::PhantomData };
    statement.execute(&mut &*conn).await.map(drop)
}
