//! `quarantine` and `quarantined_raw_events`: what could not be processed, kept whole, with the reason.
//!
//! ```text
//!   rejected ──▶ open ──replay commits it, or finds it a duplicate──▶ settled
//!                 └───────────────a person gives it up──────────────▶ discarded ──a replay was on its way──▶ settled
//! ```
//!
//! What was recorded is settled, whatever a person said meanwhile; why it had been given up stays beside it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Binary, Bool, Integer, Jsonb, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use serde_json::Value;
use vocabulary::{RawEvent, Rejection, Replay, Stamp};

use crate::{
    QueryError, QueryResult,
    schema::{quarantine, quarantined_raw_events, receipts},
};

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
     WHERE incarnation = ? AND number = ? AND item = ? AND resolution IS DISTINCT FROM 'settled' RETURNING true"
}

/// Closes a row because its replay has settled it, in the transaction that did. Says whether none had before: a replay that
/// runs twice corrects the receipt once.
///
/// # Errors
/// As any query.
pub async fn settle(conn: &AsyncPgConnection, stamp: &Stamp, item: i32) -> QueryResult<bool> {
    let (incarnation, number) = (stamp.incarnation.as_str(), stamp.number.cast_signed());
    let settle = Settle { incarnation, number, item, lifetime: std::marker::PhantomData };
    let closed: Vec<bool> = settle.load(&mut &*conn).await?;
    Ok(!closed.is_empty())
}

/// A row without the bytes behind it: what people look at.
#[derive(Debug, Clone, Serialize, Queryable, Selectable)]
#[diesel(table_name = quarantine)]
pub struct QuarantinedRow {
    /// Its number in commands.
    pub id: i64,
    /// With `number`, the stamp of the raw event that it came in.
    pub incarnation: String,
    /// Which raw event of that incarnation.
    pub number: i64,
    /// Which item of it, from 0, or [`WHOLE`].
    pub item: i32,
    /// Where it came from.
    pub source_id: String,
    /// Why, in the few words that rows are grouped by.
    pub reason: String,
    /// What exactly is wrong with this one.
    pub detail: String,
    /// When it was rejected.
    pub created_at: DateTime<Utc>,
    /// When a person last asked for it to be processed again.
    pub replayed_at: Option<DateTime<Utc>>,
    /// When it was settled or discarded.
    pub closed_at: Option<DateTime<Utc>>,
    /// `settled` or `discarded`.
    pub resolution: Option<String>,
    /// Why it was discarded.
    pub note: Option<String>,
    /// Whether its raw event has ended: only then may it be replayed.
    #[diesel(select_expression = receipts::ended_at.nullable().is_not_null())]
    pub ended: bool,
}

impl QuarantinedRow {
    /// What a job says to have it processed again.
    pub fn as_replay(&self) -> Replay {
        Replay { stamp: stamp(&self.incarnation, self.number), item: u32::try_from(self.item).ok() }
    }
}

fn stamp(incarnation: &str, number: i64) -> Stamp {
    Stamp { incarnation: vocabulary::Incarnation::new(incarnation), number: number.cast_unsigned() }
}

/// Which rows to look at; `None` and empty are any.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    /// Named by their numbers.
    pub ids: &'a [i64],
    /// Of this reason.
    pub reason: Option<&'a str>,
    /// Of this source.
    pub source_id: Option<&'a str>,
    /// Rejected no earlier than this.
    pub since: Option<DateTime<Utc>>,
    /// Closed ones too.
    pub closed: bool,
}

/// The rows wanted, the oldest first.
///
/// # Errors
/// As any query.
pub async fn list(conn: &AsyncPgConnection, wanted: &Wanted<'_>) -> QueryResult<Vec<QuarantinedRow>> {
    use quarantine::dsl as q;
    let receipt = receipts::incarnation.eq(q::incarnation).and(receipts::number.eq(q::number));
    let mut query = quarantine::table
        .left_join(receipts::table.on(receipt))
        .order(q::id)
        .select(QuarantinedRow::as_select())
        .into_boxed();
    if !wanted.ids.is_empty() {
        query = query.filter(q::id.eq_any(wanted.ids));
    }
    if let Some(reason) = wanted.reason {
        query = query.filter(q::reason.eq(reason));
    }
    if let Some(source_id) = wanted.source_id {
        query = query.filter(q::source_id.eq(source_id));
    }
    if let Some(since) = wanted.since {
        query = query.filter(q::created_at.ge(since));
    }
    if !wanted.closed {
        query = query.filter(q::closed_at.is_null());
    }
    query.load(&mut &*conn).await
}

/// The bytes of a row, and the whole raw event behind it, byte for byte.
///
/// # Errors
/// As any query, or when a row holds what latchhook would not have written.
pub async fn whole(conn: &AsyncPgConnection, row: &QuarantinedRow) -> QueryResult<(Vec<u8>, RawEvent)> {
    use quarantined_raw_events::dsl as r;
    let raw = quarantine::table.find(row.id).select(quarantine::raw).first(&mut &*conn).await?;
    let (source_id, received_at, headers, body): (String, DateTime<Utc>, Value, Vec<u8>) = r::quarantined_raw_events
        .find((&row.incarnation, row.number))
        .select((r::source_id, r::received_at, r::headers, r::body))
        .first(&mut &*conn)
        .await?;
    let raw_event = RawEvent {
        source_id: source_id.parse().map_err(foreign)?,
        received_at,
        headers: serde_json::from_value(headers).map_err(foreign)?,
        body: body.into(),
    };
    Ok((raw, raw_event))
}

fn foreign(error: impl std::error::Error + Send + Sync + 'static) -> QueryError {
    QueryError::DeserializationError(Box::new(error))
}

/// Notes that a person asked for these to be processed again.
///
/// # Errors
/// As any query.
pub async fn replayed(conn: &AsyncPgConnection, ids: &[i64]) -> QueryResult<()> {
    diesel::update(quarantine::table.filter(quarantine::id.eq_any(ids)))
        .set(quarantine::replayed_at.eq(diesel::dsl::now))
        .execute(&mut &*conn)
        .await
        .map(drop)
}

statement! {
    Closers { ids: Vec<i64> => Array<BigInt> } -> (BigInt, Text),
    "SELECT DISTINCT ON (q.id) q.id, a.actor FROM audit_log a \
     CROSS JOIN LATERAL unnest(string_to_array(a.target, ' ')::bigint[]) AS q (id) \
     WHERE a.action IN ('quarantine discard', 'quarantine replay') AND q.id = ANY (?) ORDER BY q.id, a.id DESC"
}

/// On whose word these were closed, as the audit log has it: who discarded them, or asked last for them to be replayed.
///
/// # Errors
/// As any query.
pub async fn closers(conn: &AsyncPgConnection, ids: &[i64]) -> QueryResult<HashMap<i64, String>> {
    let closers = Closers { ids: ids.to_vec(), lifetime: std::marker::PhantomData };
    let closers: Vec<(i64, String)> = closers.load(&mut &*conn).await?;
    Ok(closers.into_iter().collect())
}

/// Closes rows because a person gives them up, and why. Gives back those that were still open.
///
/// # Errors
/// As any query.
pub async fn discard(conn: &AsyncPgConnection, ids: &[i64], why: &str) -> QueryResult<Vec<i64>> {
    diesel::update(quarantine::table.filter(quarantine::id.eq_any(ids)).filter(quarantine::closed_at.is_null()))
        .set((
            quarantine::closed_at.eq(diesel::dsl::now),
            quarantine::resolution.eq("discarded"),
            quarantine::note.eq(why),
        ))
        .returning(quarantine::id)
        .get_results(&mut &*conn)
        .await
}
