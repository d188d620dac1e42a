//! What people look at of one event beside its own row: its message, its attempts.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::{
    QueryResult,
    events::EventRow,
    schema::{attempts, messages, receipts},
};

/// An HTTP request that was made for a delivery, and what came of it.
#[derive(Debug, Clone, Serialize, Queryable, Selectable)]
#[diesel(table_name = attempts)]
pub struct AttemptRow {
    /// To whom.
    pub endpoint_id: String,
    /// The lease that it was made under.
    pub lease: i64,
    /// The id that it carried.
    pub webhook_id: String,
    /// `delivered`, or the cause of failure in a word.
    pub outcome: String,
    /// What the customer answered.
    pub http_status: Option<i16>,
    /// More about a failure.
    pub detail: Option<String>,
    /// The first bytes of the answer's body.
    #[serde(serialize_with = "as_text")]
    pub response_head: Option<Vec<u8>>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took, in µs.
    pub duration_us: i64,
    /// Of these, asking for the name's addresses; `None` here and below: it did not come to that.
    pub dns_us: Option<i32>,
    /// Connecting by TCP.
    pub connect_us: Option<i32>,
    /// The TLS handshake.
    pub tls_us: Option<i32>,
    /// From there to the head of the answer.
    pub first_byte_us: Option<i32>,
}

/// What is no UTF-8 in it is replaced: it is to be looked at.
fn as_text<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_deref().map(String::from_utf8_lossy).serialize(serializer)
}

/// All attempts of an event's deliveries, in the order in which they began.
///
/// # Errors
/// As any query.
pub async fn attempts_of(conn: &AsyncPgConnection, event_id: Uuid) -> QueryResult<Vec<AttemptRow>> {
    attempts::table
        .filter(attempts::event_id.eq(event_id))
        .order((attempts::started_at, attempts::lease))
        .select(AttemptRow::as_select())
        .load(&mut &*conn)
        .await
}

/// A message as it stands.
#[derive(Debug, Clone, Serialize, Queryable, Selectable)]
#[diesel(table_name = messages)]
pub struct MessageState {
    /// Its id here.
    pub id: Uuid,
    /// The provider's id of it.
    pub external_id: String,
    /// `incoming` or `outgoing`.
    pub direction: String,
    /// The provider's type; `None` while only a status is known of it.
    pub kind: Option<String>,
    /// How far it got; `None` for incoming ones.
    pub status: Option<String>,
    /// By the provider's clock.
    pub provider_timestamp: Option<DateTime<Utc>>,
    /// When it was first heard of.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// The message that an event is about: the one that its body names, else the one whose id is its key.
///
/// # Errors
/// As any query.
pub async fn message_of(
    conn: &AsyncPgConnection,
    event: &EventRow,
    named: Option<Uuid>,
) -> QueryResult<Option<MessageState>> {
    let query = messages::table.select(MessageState::as_select()).into_boxed();
    let query = match named {
        Some(id) => query.filter(messages::id.eq(id)),
        None => query.filter(messages::source_id.eq(&event.source_id)).filter(messages::external_id.eq(&event.key)),
    };
    query.first(&mut &*conn).await.optional()
}

/// What became of a raw event.
#[derive(Debug, Clone, Serialize, Queryable, Selectable)]
#[diesel(table_name = receipts)]
pub struct ReceiptRow {
    /// How many items it holds.
    pub items: i32,
    /// How many of them the ledger has by this very raw event.
    pub committed: i32,
    /// How many of them are in quarantine.
    pub quarantined: i32,
    /// When all were settled; the rest of them are duplicates then.
    pub ended_at: Option<DateTime<Utc>>,
}

/// The receipt of the raw event that committed an event.
///
/// # Errors
/// As any query.
pub async fn receipt_of(conn: &AsyncPgConnection, event: &EventRow) -> QueryResult<Option<ReceiptRow>> {
    let query = receipts::table.find((&event.incarnation, event.number)).select(ReceiptRow::as_select());
    query.first(&mut &*conn).await.optional()
}

/// From receipt to delivery, in milliseconds.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct Latency {
    /// Half of the deliveries were faster.
    #[diesel(sql_type = diesel::sql_types::Double)]
    pub p50: f64,
    /// All but one in a hundred were faster.
    #[diesel(sql_type = diesel::sql_types::Double)]
    pub p99: f64,
}

/// How long customers waited, over everything that was ever delivered: from the producer's clock at receipt to the end of
/// the attempt that succeeded, by the dispatcher's. Reads all attempts.
///
/// # Errors
/// As any query.
pub async fn latency(conn: &AsyncPgConnection) -> QueryResult<Latency> {
    let query = "SELECT coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), 0) AS p50, \
                 coalesce(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms), 0) AS p99 FROM \
                 (SELECT extract(epoch FROM a.started_at - e.received_at)::float8 * 1000 + a.duration_us / 1000.0 AS ms \
                 FROM attempts a JOIN events e ON e.id = a.event_id WHERE a.outcome = 'delivered') AS waited";
    diesel::sql_query(query).get_result(&mut &*conn).await
}
