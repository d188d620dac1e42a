//! `receipts`: what became of each raw event. What makes "never lost" a thing that one can check.

use diesel::{
    result::DatabaseErrorKind,
    sql_types::{Array, BigInt, Bool, Integer, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use vocabulary::Stamp;

use crate::{QueryError, QueryResult};

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

/// Receipts as statements take them.
struct Columns<'a> {
    incarnations: Vec<&'a str>,
    numbers: Vec<i64>,
    sources: Vec<&'a str>,
    items: Vec<i32>,
    committed: Vec<i32>,
    quarantined: Vec<i32>,
    ended: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn of(receipts: &'a [Receipt]) -> Self {
        Self {
            incarnations: receipts.iter().map(|receipt| receipt.stamp.incarnation.as_str()).collect(),
            numbers: receipts.iter().map(|receipt| receipt.stamp.number.cast_signed()).collect(),
            sources: receipts.iter().map(|receipt| receipt.source_id.as_str()).collect(),
            items: receipts.iter().map(|receipt| receipt.items).collect(),
            committed: receipts.iter().map(|receipt| receipt.committed).collect(),
            quarantined: receipts.iter().map(|receipt| receipt.quarantined).collect(),
            ended: receipts.iter().map(|receipt| receipt.ended).collect(),
        }
    }
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
    let Columns { incarnations, numbers, sources, items, committed, quarantined, ended } = Columns::of(receipts);
    let lifetime = std::marker::PhantomData;
    let statement = Put { incarnations, numbers, sources, items, committed, quarantined, ended, lifetime };
    statement.execute(&mut &*conn).await.map(drop)
}

statement! {
    PutFirst {
        incarnations: Vec<&'a str> => Array<Text>,
        numbers: Vec<i64> => Array<BigInt>,
        sources: Vec<&'a str> => Array<Text>,
        items: Vec<i32> => Array<Integer>,
        committed: Vec<i32> => Array<Integer>,
        quarantined: Vec<i32> => Array<Integer>,
        ended: Vec<bool> => Array<Bool>,
    } -> (),
    "INSERT INTO receipts (incarnation, number, source_id, items, committed, quarantined, ended_at) \
     SELECT incarnation, number, source_id, items, committed, quarantined, CASE WHEN ended THEN now() END \
     FROM unnest(?, ?, ?, ?, ?, ?, ?) AS n (incarnation, number, source_id, items, committed, quarantined, ended)"
}

/// Likewise, for raw events that have no receipts yet, at half the price.
///
/// # Errors
/// As any query; `NotFound` when one of them has a receipt all the same: then nothing is written.
pub async fn put_first(conn: &AsyncPgConnection, receipts: &[Receipt]) -> QueryResult<()> {
    let Columns { incarnations, numbers, sources, items, committed, quarantined, ended } = Columns::of(receipts);
    let lifetime = std::marker::PhantomData;
    let statement = PutFirst { incarnations, numbers, sources, items, committed, quarantined, ended, lifetime };
    match statement.execute(&mut &*conn).await {
        Err(QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Err(QueryError::NotFound),
        put => put.map(drop),
    }
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
pub async fn replace(conn: &AsyncPgConnection, receipt: &Receipt) -> QueryResult<()> {
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
