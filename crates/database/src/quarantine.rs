//! `quarantine` and `quarantined_raw_events`: what could not be processed, kept whole, with the reason.
//!
//! ```text
//!   rejected ──▶ open ──replay commits it, or finds it a duplicate──▶ settled
//!                 └───────────────a person gives it up──────────────▶ discarded
//! ```

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Jsonb, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use vocabulary::{RawEvent, Rejection, Stamp};

use crate::QueryResult;

/// `item` of a raw event that is quarantined as a whole.
pub const WHOLE: i32 = -1;

/// One thing to be kept.
#[derive(Debug, Clone)]
pub struct Rejected<'a> {
    /// The raw event that it came in.
    pub stamp: &'a Stamp,
    /// The raw event itself.
    pub raw_event: &'a RawEvent,
    /// Which item of it, from 0, or [`WHOLE`].
    pub item: i32,
    /// Why.
    pub rejection: &'a Rejection,
}

statement! {
    PutRawEvents {
        incarnations: Vec<&'a str> => Array<Text>,
        numbers: Vec<i64> => Array<BigInt>,
        sources: Vec<&'a str> => Array<Text>,
        received: Vec<DateTime<Utc>> => Array<Timestamptz>,
        headers: Vec<Value> => Array<Jsonb>,
        bodies: Vec<&'a [u8]> => Array<Binary>,
    } -> (),
    "INSERT INTO quarantined_raw_events SELECT * FROM unnest(?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
}

statement! {
    PutItems {
        incarnations: Vec<&'a str> => Array<Text>,
        numbers: Vec<i64> => Array<BigInt>,
        items: Vec<i32> => Array<Integer>,
        sources: Vec<&'a str> => Array<Text>,
        reasons: Vec<&'a str> => Array<Text>,
        details: Vec<String> => Array<Text>,
        raws: Vec<&'a [u8]> => Array<Binary>,
    } -> (Text, BigInt, Integer),
    "INSERT INTO quarantine (incarnation, number, item, source_id, reason, detail, raw) \
     SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING incarnation, number, item"
}

/// Keeps what was rejected; what is kept already stays as it is. Gives back how many are new.
///
/// # Errors
/// As any query.
pub async fn put(conn: &AsyncPgConnection, rejected: &[Rejected<'_>]) -> QueryResult<usize> {
    let mut whole: Vec<_> = rejected.iter().map(|row| (row.stamp, row.raw_event)).collect();
    whole.dedup_by_key(|(stamp, _)| *stamp);
    let raw_events = PutRawEvents {
        incarnations: whole.iter().map(|(stamp, _)| stamp.incarnation.as_str()).collect(),
        numbers: whole.iter().map(|(stamp, _)| stamp.number.cast_signed()).collect(),
        sources: whole.iter().map(|(_, raw_event)| raw_event.source_id.as_str()).collect(),
        received: whole.iter().map(|(_, raw_event)| raw_event.received_at).collect(),
        headers: whole.iter().map(|(_, raw_event)| serde_json::json!(raw_event.headers)).collect(),
        bodies: whole.iter().map(|(_, raw_event)| raw_event.body.as_ref()).collect(),
        lifetime: std::marker::PhantomData,
    };
    raw_events.execute(&mut &*conn).await?;
    let items = PutItems {
        incarnations: rejected.iter().map(|row| row.stamp.incarnation.as_str()).collect(),
        numbers: rejected.iter().map(|row| row.stamp.number.cast_signed()).collect(),
        items: rejected.iter().map(|row| row.item).collect(),
        sources: rejected.iter().map(|row| row.raw_event.source_id.as_str()).collect(),
        reasons: rejected.iter().map(|row| row.rejection.reason).collect(),
        details: rejected.iter().map(|row| row.rejection.detail.replace('\0', "\u{fffd}")).collect(),
        raws: rejected.iter().map(|row| row.rejection.raw.as_ref()).collect(),
        lifetime: std::marker::PhantomData,
    };
    let new: Vec<(String, i64, i32)> = items.load(&mut &*conn).await?;
    Ok(new.len())
}

statement! {
    Settle { incarnation: &'a str => Text, number: i64 => BigInt, item: i32 => Integer } -> Bool,
    "UPDATE quarantine SET closed_at = now(), resolution = 'settled' \
     WHERE incarnation = ? AND number = ? AND item = ? AND closed_at IS NULL RETURNING true"
}

/// Closes a row because its replay has settled it, in the transaction that did. Says whether it was still open: a replay
/// that runs twice corrects the receipt once.
///
/// # Errors
/// As any query.
pub async fn settle(conn: &AsyncPgConnection, stamp: &Stamp, item: i32) -> QueryResult<bool> {
    let (incarnation, number) = (stamp.incarnation.as_str(), stamp.number.cast_signed());
    let settle = Settle { incarnation, number, item, lifetime: std::marker::PhantomData };
    let closed: Vec<bool> = settle.load(&mut &*conn).await?;
    Ok(!closed.is_empty())
}
