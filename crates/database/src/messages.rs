//! `messages`: what chat events are about.
//!
//! Read for update if they may be there, joined in memory, written back: each message at most once per transaction, in the order of
//! (source, external id). Transactions of one source are already one after another here, because each holds its counter.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;
use vocabulary::{Message, Progress};

use crate::{QueryResult, error::stale_by, statement::nullable};

/// A message with its name here.
#[derive(Debug, Clone)]
pub struct MessageRow<'a> {
    /// Its id here.
    pub id: Uuid,
    /// Its source.
    pub source_id: &'a str,
    /// Everything said of it so far.
    pub message: Message,
}

statement! {
    Lock { sources: Vec<&'a str> => Array<Text>, external_ids: Vec<&'a str> => Array<Text> } -> (BigInt, SqlUuid, Binary),
    "SELECT place, m.id, m.state FROM unnest(?, ?) WITH ORDINALITY AS wanted (source_id, external_id, place) \
     JOIN messages m USING (source_id, external_id) ORDER BY m.source_id, m.external_id FOR UPDATE OF m"
}

/// Reads those of these messages, as (source, external id), that are there, and locks them to COMMIT.
///
/// # Errors
/// As any query, or when a state is not what latchhook wrote.
pub async fn lock<'a>(conn: &AsyncPgConnection, wanted: &[(&'a str, &'a str)]) -> QueryResult<Vec<MessageRow<'a>>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let (sources, external_ids) = wanted.iter().copied().unzip();
    let rows: Vec<(i64, Uuid, Vec<u8>)> =
        Lock { sources, external_ids, lifetime: std::marker::PhantomData }.load(&mut &*conn).await?;
    let read = |(place, id, state): (i64, Uuid, Vec<u8>)| {
        let asked = usize::try_from(place - 1).ok().and_then(|place| wanted.get(place));
        let (source_id, _) = asked.ok_or(crate::QueryError::NotFound)?;
        let message =
            serde_json::from_slice(&state).map_err(|error| crate::QueryError::DeserializationError(error.into()))?;
        Ok(MessageRow { id, source_id, message })
    };
    rows.into_iter().map(read).collect()
}

statement! {
    Update {
        ids: Vec<Uuid> => Array<SqlUuid>,
        sources: Vec<&'a str> => Array<Text>,
        external_ids: Vec<&'a str> => Array<Text>,
        directions: Vec<&'a str> => Array<Text>,
        kinds: Vec<Option<&'a str>> => Array<Nullable<Text>>,
        statuses: Vec<Option<&'a str>> => Array<Nullable<Text>>,
        contents: Vec<Option<&'a [u8]>> => Array<Nullable<Binary>>,
        states: Vec<Vec<u8>> => Array<Binary>,
        timestamps: Vec<Option<DateTime<Utc>>> => Array<Nullable<Timestamptz>>,
    } -> (),
    "UPDATE messages m SET direction = n.direction, kind = n.kind, status = n.status, content = n.content, state = n.state, \
     provider_timestamp = n.provider_timestamp, updated_at = now() \
     FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?) \
     AS n (id, source_id, external_id, direction, kind, status, content, state, provider_timestamp) WHERE m.id = n.id"
}

statement! {
    Insert of Update -> (),
    "INSERT INTO messages (id, source_id, external_id, direction, kind, status, content, state, provider_timestamp) \
     SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?)"
}

/// Writes messages that were not there. They come in the order of (source, external id).
///
/// # Errors
/// As any query; `NotFound` when one of them is there all the same: then nothing is written.
pub async fn insert(conn: &AsyncPgConnection, rows: &[&MessageRow<'_>]) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    Insert(columns(rows)?).execute(&mut &*conn).await.map(drop).map_err(stale_by("messages_source_id_external_id_key"))
}

/// Writes messages that were there ([`lock`]), and have changed.
///
/// # Errors
/// As any query.
pub async fn update(conn: &AsyncPgConnection, rows: &[&MessageRow<'_>]) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    columns(rows)?.execute(&mut &*conn).await.map(drop)
}

fn columns<'a>(rows: &[&'a MessageRow<'_>]) -> QueryResult<Update<'a>> {
    let states = rows.iter().map(|row| serde_json::to_vec(&row.message)).collect::<Result<_, _>>();
    Ok(Update {
        ids: rows.iter().map(|row| row.id).collect(),
        sources: rows.iter().map(|row| row.source_id).collect(),
        external_ids: rows.iter().map(|row| row.message.external_id.as_str()).collect(),
        directions: rows.iter().map(|row| row.message.direction.as_str()).collect(),
        kinds: rows.iter().map(|row| row.message.kind.as_deref()).collect(),
        statuses: nullable(rows.iter().map(|row| row.message.status().map(Progress::as_str))),
        contents: rows.iter().map(|row| row.message.content().map(str::as_bytes)).collect(),
        states: states.map_err(|error| crate::QueryError::SerializationError(error.into()))?,
        timestamps: rows.iter().map(|row| row.message.provider_timestamp).collect(),
        lifetime: std::marker::PhantomData,
    })
}
