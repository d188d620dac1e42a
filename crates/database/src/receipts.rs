//! `receipts`: what became of each raw event. What makes "never lost" a thing that one can check.

use diesel::sql_types::{Array, BigInt, Bool, Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use vocabulary::Stamp;

use crate::QueryResult;

/// How far a raw event has got, in items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Which raw event.
    pub stamp: Stamp,
    /// Where it came from.
    pub source_id: String,
    /// How many items it holds.
    pub items: i32,
    /// How many of them the ledger has by this very raw event.
    pub committed: i32,
    /// How many of them are in quarantine.
    pub quarantined: i32,
    /// Whether all are settled; the rest of them are duplicates then.
    pub ended: bool,
}

statement! {
    /// A receipt that has ended is final: a zombie's second run does not rewrite it.
    Put {
        incarnations: Vec<&'a str> => Array<Text>,
        numbers: Vec<i64> => Array<BigInt>,
        sources: Vec<&'a str> => Array<Text>,
        items: Vec<i32> => Array<Integer>,
        committed: Vec<i32> => Array<Integer>,
        quarantined: Vec<i32> => Array<Integer>,
        ended: Vec<bool> => Array<Bool>,
    } -> (),
    "INSERT INTO receipts AS r (incarnation, number, source_id, items, committed, quarantined, ended_at) \
     SELECT incarnation, number, source_id, items, committed, quarantined, CASE WHEN ended THEN now() END \
     FROM unnest(?, ?, ?, ?, ?, ?, ?) AS n (incarnation, number, source_id, items, committed, quarantined, ended) \
     ORDER BY incarnation, number \
     ON CONFLICT (incarnation, number) DO UPDATE SET items = excluded.items, committed = excluded.committed, \
     quarantined = excluded.quarantined, ended_at = excluded.ended_at WHERE r.ended_at IS NULL"
}

/// Writes how far some raw events have got. A run that repeats an earlier one adds nothing twice: the numbers are what is
/// true of the raw event, not what this run did.
///
/// # Errors
/// As any query.
pub async fn put(conn: &AsyncPgConnection, receipts: &[Receipt]) -> QueryResult<()> {
    let statement = Put {
        incarnations: receipts.iter().map(|receipt| receipt.stamp.incarnation.as_str()).collect(),
        numbers: receipts.iter().map(|receipt| receipt.stamp.number.cast_signed()).collect(),
        sources: receipts.iter().map(|receipt| receipt.source_id.as_str()).collect(),
        items: receipts.iter().map(|receipt| receipt.items).collect(),
        committed: receipts.iter().map(|receipt| receipt.committed).collect(),
        quarantined: receipts.iter().map(|receipt| receipt.quarantined).collect(),
        ended: receipts.iter().map(|receipt| receipt.ended).collect(),
        lifetime: std::marker::PhantomData,
    };
    statement.execute(&mut &*conn).await.map(drop)
}

/// What a replay changed of a raw event that had ended.
#[derive(Debug, Clone)]
pub struct Correction<'a> {
    /// Which raw event.
    pub stamp: &'a Stamp,
    /// Items more than were counted (a whole raw event that can now be split).
    pub items: i32,
    /// Items more in the ledger.
    pub committed: i32,
    /// Items more in quarantine; negative when some left it.
    pub quarantined: i32,
}

statement! {
    Correct { incarnation: &'a str => Text, number: i64 => BigInt, items: i32 => Integer, committed: i32 => Integer,
              quarantined: i32 => Integer } -> (),
    "UPDATE receipts r SET items = r.items + c.items, committed = r.committed + c.committed, \
     quarantined = r.quarantined + c.quarantined \
     FROM (VALUES (?, ?, ?, ?, ?)) AS c (incarnation, number, items, committed, quarantined) \
     WHERE r.incarnation = c.incarnation AND r.number = c.number"
}

/// Applies what a replay changed. The caller does so in the transaction that closes the quarantined rows, once.
///
/// # Errors
/// As any query.
pub async fn correct(conn: &AsyncPgConnection, correction: &Correction<'_>) -> QueryResult<()> {
    let statement = Correct {
        incarnation: correction.stamp.incarnation.as_str(),
        number: correction.stamp.number.cast_signed(),
        items: correction.items,
        committed: correction.committed,
        quarantined: correction.quarantined,
        lifetime: std::marker::PhantomData,
    };
    statement.execute(&mut &*conn).await.map(drop)
}
