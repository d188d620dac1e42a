//! `events`: the ledger. **This is where a duplicate is stopped**, whatever Redis knows or has forgotten.
//!
//! ```text
//!             INSERT
//!   absent ──────────▶ inserted ──COMMIT──▶ for ever
//!             │
//!             └── there already: a duplicate, or this very raw event run again (`committed_by` tells)
//! ```
//!
//! Whoever inserts holds the counter of the source ([`crate::sequences::hold`]), and either has looked the keys up under it or
//! has it from Redis that they are new, so that a row is written once, with its place in the sequence. Those are economies: it
//! is the constraint that decides, and refuses the whole transaction. (`ON CONFLICT` would cost each row a fifth more.)

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Binary, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use uuid::Uuid;
use vocabulary::{Incarnation, KeyHash, Stamp};

use crate::{QueryResult, error::stale_by, schema::events};

/// How long a key is remembered; `None` is for ever. Whoever lets anything delete from the ledger says here after how long:
/// `latchhook providers` names who repeats himself for longer.
pub const REMEMBERED_FOR: Option<Duration> = None;

/// A row for the ledger.
#[derive(Debug, Clone)]
pub struct NewEvent<'a> {
    /// Its id here.
    pub id: Uuid,
    /// What it is unique by.
    pub key_hash: KeyHash,
    /// Its source.
    pub source_id: &'a str,
    /// The provider's id for it.
    pub key: &'a str,
    /// The provider's type.
    pub kind: &'a str,
    /// The raw event that brings it.
    pub stamp: &'a Stamp,
    /// By the provider's clock.
    pub occurred_at: Option<DateTime<Utc>>,
    /// By the producer's clock.
    pub received_at: DateTime<Utc>,
    /// Its place among the events of its source.
    pub sequence: i64,
    /// What its webhook is called; `None` owes nobody anything.
    pub event_type: Option<&'a str>,
    /// How many deliveries are written for it.
    pub deliveries_owed: i32,
}

statement! {
    /// One wins per key, over all workers and for ever; the others are refused, after the winner's COMMIT.
    Insert {
        ids: Vec<Uuid> => Array<SqlUuid>,
        hashes: Vec<&'a [u8]> => Array<Binary>,
        sources: Vec<&'a str> => Array<Text>,
        keys: Vec<&'a str> => Array<Text>,
        kinds: Vec<&'a str> => Array<Text>,
        incarnations: Vec<&'a str> => Array<Text>,
        numbers: Vec<i64> => Array<BigInt>,
        occurred: Vec<Option<DateTime<Utc>>> => Array<Nullable<Timestamptz>>,
        received: Vec<DateTime<Utc>> => Array<Timestamptz>,
        sequences: Vec<i64> => Array<BigInt>,
        types: Vec<Option<&'a str>> => Array<Nullable<Text>>,
        owed: Vec<i32> => Array<Integer>,
    } -> (),
    "INSERT INTO events (id, key_hash, source_id, key, kind, incarnation, number, occurred_at, received_at, sequence, \
     event_type, deliveries_owed) \
     SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
}

/// Inserts what is new. Sorted by key, so that two transactions with the same keys wait for each other instead of locking
/// each other out.
///
/// # Errors
/// As any query; `NotFound` when the ledger has one of them: then nothing is written.
pub async fn insert(conn: &AsyncPgConnection, events: &mut [NewEvent<'_>]) -> QueryResult<()> {
    events.sort_by_key(|event| event.key_hash);
    let statement = Insert {
        ids: events.iter().map(|event| event.id).collect(),
        hashes: events.iter().map(|event| event.key_hash.as_slice()).collect(),
        sources: events.iter().map(|event| event.source_id).collect(),
        keys: events.iter().map(|event| event.key).collect(),
        kinds: events.iter().map(|event| event.kind).collect(),
        incarnations: events.iter().map(|event| event.stamp.incarnation.as_str()).collect(),
        numbers: events.iter().map(|event| event.stamp.number.cast_signed()).collect(),
        occurred: events.iter().map(|event| event.occurred_at).collect(),
        received: events.iter().map(|event| event.received_at).collect(),
        sequences: events.iter().map(|event| event.sequence).collect(),
        types: events.iter().map(|event| event.event_type).collect(),
        owed: events.iter().map(|event| event.deliveries_owed).collect(),
        lifetime: std::marker::PhantomData,
    };
    statement.execute(&mut &*conn).await.map(drop).map_err(stale_by("events_key_hash_key"))
}

statement! {
    CommittedBy { hashes: Vec<&'a [u8]> => Array<Binary> } -> (Binary, Text, BigInt),
    "SELECT key_hash, incarnation, number FROM events WHERE key_hash = ANY(?)"
}

/// Which raw event committed each of these keys; keys that nobody committed are absent.
///
/// # Errors
/// As any query.
pub async fn committed_by(conn: &AsyncPgConnection, hashes: &[KeyHash]) -> QueryResult<HashMap<KeyHash, Stamp>> {
    if hashes.is_empty() {
        return Ok(HashMap::new());
    }
    let hashes = hashes.iter().map(KeyHash::as_slice).collect();
    let rows: Vec<(Vec<u8>, String, i64)> =
        CommittedBy { hashes, lifetime: std::marker::PhantomData }.load(&mut &*conn).await?;
    let read = |(hash, incarnation, number): (Vec<u8>, String, i64)| {
        let hash = KeyHash(hash.try_into().ok()?);
        Some((hash, Stamp { incarnation: Incarnation::new(&incarnation), number: number.cast_unsigned() }))
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// An event as the ledger keeps it: what people look at.
#[derive(Debug, Clone, Serialize, Queryable, Selectable)]
#[diesel(table_name = events)]
pub struct EventRow {
    /// Its id here.
    pub id: Uuid,
    /// Its source.
    pub source_id: String,
    /// The provider's id for it.
    pub key: String,
    /// The provider's type.
    pub kind: String,
    /// What its webhook is called; `None` owes nobody anything.
    pub event_type: Option<String>,
    /// Its place among the events of its source.
    pub sequence: Option<i64>,
    /// How many deliveries its transaction wrote.
    pub deliveries_owed: i32,
    /// With `number`, the stamp of the raw event that committed it.
    pub incarnation: String,
    /// Which raw event of that incarnation.
    pub number: i64,
    /// By the provider's clock.
    pub occurred_at: Option<DateTime<Utc>>,
    /// By the producer's clock.
    pub received_at: DateTime<Utc>,
}

/// Which events to look at; `None` is any.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    /// Of this source.
    pub source_id: Option<&'a str>,
    /// Of this kind.
    pub kind: Option<&'a str>,
    /// With this key.
    pub key: Option<&'a str>,
    /// Received no earlier than this.
    pub since: Option<DateTime<Utc>>,
}

/// The newest `limit` events of those wanted, the newest first. Ids begin with the time they were made.
///
/// # Errors
/// As any query.
pub async fn list(conn: &AsyncPgConnection, wanted: &Wanted<'_>, limit: i64) -> QueryResult<Vec<EventRow>> {
    let mut query = events::table.order(events::id.desc()).limit(limit).select(EventRow::as_select()).into_boxed();
    if let Some(source_id) = wanted.source_id {
        query = query.filter(events::source_id.eq(source_id));
    }
    if let Some(kind) = wanted.kind {
        query = query.filter(events::kind.eq(kind));
    }
    if let Some(key) = wanted.key {
        query = query.filter(events::key.eq(key));
    }
    if let Some(since) = wanted.since {
        query = query.filter(events::received_at.ge(since));
    }
    query.load(&mut &*conn).await
}

/// One event.
///
/// # Errors
/// As any query.
pub async fn find(conn: &AsyncPgConnection, id: Uuid) -> QueryResult<Option<EventRow>> {
    events::table.find(id).select(EventRow::as_select()).first(&mut &*conn).await.optional()
}

/// No id that is made from `time` on is less: a UUID v7 begins with its 48 bits of milliseconds (RFC 9562, 5.7).
pub(crate) fn first_id_at(time: DateTime<Utc>) -> Uuid {
    Uuid::from_u128(u128::try_from(time.timestamp_millis()).unwrap_or_default() << 80)
}
