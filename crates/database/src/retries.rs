//! `retries`: many deliveries that are made due again on a person's word.
//!
//! ```text
//!   a person's word ──▶ running ──nothing is left──▶ done
//!                        │   │
//!                a chunk └───┘ └──a person's word──▶ cancelled
//! ```
//! A chunk is a transaction that holds the row ([`hold`]), makes the next deliveries due, and says so here ([`advance`]):
//! whoever dies leaves what was committed, and others go on after it. The place only moves forward, and nothing is taken that
//! ended after the row was written, so no delivery is made due twice, however soon it fails or is delivered again.
//!
//! Who works at a retry takes the next chunk soon after it may be taken. So of one that is long past that moment nobody does: it
//! is shown as stopped, and is running still for whoever resumes it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::{
    dsl::{now, sql},
    expression::SqlLiteral,
    prelude::*,
    sql_types::{BigInt, Double, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use serde_json::Value;

use crate::{
    QueryError, QueryResult,
    deliveries::{MadeDue, Place, Wanted},
    due::microseconds,
    schema::retries,
};

/// Nobody works at a retry whose next chunk might have been taken so long ago: the statements of a chunk are fewer than ten, and
/// none of them lasts longer than thirty seconds.
pub const STOPPED_AFTER: Duration = Duration::from_mins(5);

/// A retry, and how far it got.
#[derive(Debug, Clone, PartialEq, Serialize, Queryable, Selectable)]
#[diesel(table_name = retries)]
pub struct RetryRow {
    /// Its number in commands.
    pub id: i64,
    /// `running`, `stopped` (as long as nobody works at it: nothing moved for [`STOPPED_AFTER`]), `done` or `cancelled`.
    #[diesel(select_expression = shown_state())]
    #[diesel(select_expression_type = SqlLiteral<Text>)]
    pub state: String,
    /// Which deliveries: [`RetryRow::wanted_deliveries`] reads it.
    pub filter: Value,
    /// On whose word.
    pub actor: String,
    /// Deliveries made due per second, at most; `None` is no limit.
    pub per_second: Option<f64>,
    /// How many there were when it was asked for.
    pub wanted: i64,
    /// How many were dealt with so far.
    pub taken: i64,
    /// How many of these were made due at once. What is in none of the four was just being sent.
    pub due: i64,
    /// How many of these are due once what is before them in their lanes has ended.
    pub waiting_in_lane: i64,
    /// How many of these wait for their endpoint to be enabled.
    pub held: i64,
    /// How many of these are due once the gates of their endpoints open.
    pub resting: i64,
    /// Those by kind of gate: [`RetryRow::made_due`] reads it.
    pub gates: Value,
    /// When it was asked for, by Postgres's clock: what ended later is not part of it.
    pub created_at: DateTime<Utc>,
    /// When the next chunk may be taken, by the same clock.
    pub next_at: DateTime<Utc>,
    /// When it was done or cancelled.
    pub ended_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    last_event_id: Option<uuid::Uuid>,
    #[serde(skip)]
    last_endpoint_id: Option<String>,
}

/// A retry to be written down.
#[derive(Debug)]
pub struct NewRetry<'a> {
    /// Which deliveries.
    pub filter: &'a Wanted,
    /// On whose word.
    pub actor: &'a str,
    /// Deliveries made due per second, at most; `None` is no limit.
    pub per_second: Option<f64>,
    /// How many there are.
    pub wanted: i64,
}

/// What was done in a transaction.
#[derive(Debug)]
pub struct Chunk {
    /// So many deliveries, which came next of those wanted, were dealt with.
    pub taken: usize,
    /// What became of them.
    pub made_due: MadeDue,
    /// After which place the next chunk begins: what stands before it is dealt with, or not wanted. `None`: nothing is left.
    pub last: Option<Place>,
    /// How long the next chunk has to wait.
    pub pause: Duration,
}

impl RetryRow {
    /// What became of those that were dealt with.
    ///
    /// # Errors
    /// When a later program wrote of the gates what this one does not know.
    pub fn made_due(&self) -> serde_json::Result<MadeDue> {
        let RetryRow { due, waiting_in_lane, held, resting, .. } = *self;
        Ok(MadeDue { due, waiting_in_lane, held, resting, gates: serde_json::from_value(self.gates.clone())? })
    }

    /// Whether it is done or cancelled; else there may be more to do.
    pub fn has_ended(&self) -> bool {
        self.ended_at.is_some()
    }

    /// Which deliveries it is about: those of its filter as they were when it was asked for.
    ///
    /// # Errors
    /// When a later program wrote the filter, with a field that this one does not know.
    pub fn wanted_deliveries(&self) -> serde_json::Result<Wanted> {
        let wanted: Wanted = serde_json::from_value(self.filter.clone())?;
        Ok(Wanted { as_of: Some(self.created_at), ..wanted })
    }

    /// The last delivery that was dealt with, or passed over.
    pub fn last(&self) -> Option<Place> {
        Some(Place { event_id: self.last_event_id?, endpoint_id: self.last_endpoint_id.clone()? })
    }
}

fn shown_state() -> SqlLiteral<Text> {
    let seconds = STOPPED_AFTER.as_secs();
    sql(&format!(
        "CASE WHEN state = 'running' AND next_at < now() - interval '{seconds} seconds' THEN 'stopped' ELSE state END"
    ))
}

/// Writes a retry down, running.
///
/// # Errors
/// As any query.
pub async fn add(conn: &AsyncPgConnection, new: &NewRetry<'_>) -> QueryResult<RetryRow> {
    let filter = serde_json::to_value(new.filter).map_err(|error| QueryError::SerializationError(error.into()))?;
    diesel::insert_into(retries::table)
        .values((
            retries::filter.eq(filter),
            retries::actor.eq(new.actor),
            retries::per_second.eq(new.per_second),
            retries::wanted.eq(new.wanted),
        ))
        .returning(RetryRow::as_select())
        .get_result(&mut &*conn)
        .await
}

/// The newest `limit` of them, the newest first.
///
/// # Errors
/// As any query.
pub async fn list(conn: &AsyncPgConnection, limit: i64) -> QueryResult<Vec<RetryRow>> {
    retries::table.order(retries::id.desc()).limit(limit).select(RetryRow::as_select()).load(&mut &*conn).await
}

/// Those that nobody works at any more, though they have not ended, the oldest first.
///
/// # Errors
/// As any query.
pub async fn stopped(conn: &AsyncPgConnection) -> QueryResult<Vec<RetryRow>> {
    let stopped = retries::table.filter(shown_state().eq("stopped")).order(retries::id);
    stopped.select(RetryRow::as_select()).load(&mut &*conn).await
}

/// One of them.
///
/// # Errors
/// As any query.
pub async fn find(conn: &AsyncPgConnection, id: i64) -> QueryResult<Option<RetryRow>> {
    retries::table.find(id).select(RetryRow::as_select()).first(&mut &*conn).await.optional()
}

/// Holds a retry until the transaction ends, so that nobody else takes the same chunk; with how long it is until the next
/// chunk may be taken, from the beginning of the transaction.
///
/// # Errors
/// As any query, or when there is none of this number.
pub async fn hold(conn: &AsyncPgConnection, id: i64) -> QueryResult<(RetryRow, Duration)> {
    let left = sql::<BigInt>("(greatest(0, extract(epoch FROM next_at - now())) * 1000000)::bigint");
    let query = retries::table.find(id).select((RetryRow::as_select(), left)).for_update();
    let (row, microseconds): (RetryRow, i64) = query.first(&mut &*conn).await?;
    Ok((row, Duration::from_micros(microseconds.unsigned_abs())))
}

/// Writes a chunk of a retry that the transaction holds down. The next may be taken `pause` after this one, or after the moment
/// from which on this one might have been.
///
/// # Errors
/// As any query.
pub async fn advance(conn: &AsyncPgConnection, held: &RetryRow, chunk: Chunk) -> QueryResult<RetryRow> {
    let Chunk { taken, made_due, last, pause } = chunk;
    let mut all = held.made_due().map_err(|error| QueryError::DeserializationError(error.into()))?;
    all += made_due;
    let gates = serde_json::to_value(&all.gates).map_err(|error| QueryError::SerializationError(error.into()))?;
    let next_at = sql::<Timestamptz>("greatest(next_at, now()) + interval '1 microsecond' * ")
        .bind::<Double, _>(microseconds(pause) as f64);
    diesel::update(retries::table.find(held.id))
        .set((
            retries::taken.eq(retries::taken + i64::try_from(taken).unwrap_or(i64::MAX)),
            retries::due.eq(all.due),
            retries::waiting_in_lane.eq(all.waiting_in_lane),
            retries::held.eq(all.held),
            retries::resting.eq(all.resting),
            retries::gates.eq(gates),
            last.map(|last| (retries::last_event_id.eq(last.event_id), retries::last_endpoint_id.eq(last.endpoint_id))),
            retries::next_at.eq(next_at),
        ))
        .returning(RetryRow::as_select())
        .get_result(&mut &*conn)
        .await
}

/// Ends a retry that is running; `None` if it is not. Waits for the chunk that is just taken.
///
/// # Errors
/// As any query.
pub async fn end(conn: &AsyncPgConnection, id: i64, state: &str) -> QueryResult<Option<RetryRow>> {
    diesel::update(retries::table.find(id).filter(retries::state.eq("running")))
        .set((retries::state.eq(state), retries::ended_at.eq(now)))
        .returning(RetryRow::as_select())
        .get_result(&mut &*conn)
        .await
        .optional()
}
