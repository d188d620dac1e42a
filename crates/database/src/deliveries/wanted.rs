//! Which deliveries: what people look at, and have tried again.
//!
//! What stands beside a delivery is looked up by its key, row for row, and not joined: Postgres never knows how much there is
//! in `due`, and has been seen to compare each delivery of an endpoint with each.

use chrono::{DateTime, Utc};
use diesel::{
    dsl::{IntoBoxed, auto_type, exists, sql},
    expression::SqlLiteral,
    pg::Pg,
    prelude::*,
    sql_types::{Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    abandon::as_kept,
    waiting::{Gate, its_gate, rests_until},
};
use crate::{
    QueryResult,
    schema::{attempts, deliveries, due, endpoints},
};

/// A delivery with its place in the queue of what is due, and what its last attempt came to: what people look at.
#[derive(Debug, Clone, Serialize, Queryable, Selectable)]
#[diesel(table_name = deliveries)]
pub struct DeliveryRow {
    /// What is owed.
    pub event_id: Uuid,
    /// To whom.
    pub endpoint_id: String,
    /// Under which id.
    pub webhook_id: String,
    /// Which body of the event it carries, `full` or `thin`.
    pub format: String,
    /// Of an endpoint that asked for order: its lane. Pending and not due, it waits for the one before it.
    pub lane: Option<String>,
    /// `pending`, `delivered` or `abandoned`.
    pub state: String,
    /// Requests recorded.
    pub attempts: i32,
    /// When its event was committed.
    pub created_at: DateTime<Utc>,
    /// When it was delivered or abandoned.
    pub finished_at: Option<DateTime<Utc>>,
    /// Why it was given up on purpose, by a person, or because its endpoint gives up on what it answered; `None` where it was
    /// not. Stays if its customer turns out to have it.
    pub abandoned_reason: Option<String>,
    /// While pending: when it is tried next, or when the lease on it ends.
    #[diesel(select_expression = its_due_at())]
    #[diesel(select_expression_type = its_due_at)]
    pub due_at: Option<DateTime<Utc>>,
    /// While it waits in its lane: the webhook id of the one whose turn it is there.
    #[diesel(select_expression = its_head())]
    #[diesel(select_expression_type = SqlLiteral<Nullable<Text>>)]
    pub behind: Option<String>,
    /// While it rests at the gate of its endpoint: when that opens.
    #[diesel(select_expression = rests_until())]
    #[diesel(select_expression_type = SqlLiteral<Nullable<Timestamptz>>)]
    pub rests_until: Option<DateTime<Utc>>,
    /// Likewise: what has closed it.
    #[diesel(select_expression = its_gate())]
    #[diesel(select_expression_type = SqlLiteral<Nullable<Text>>)]
    pub gate: Option<Gate>,
    /// The lease that a dispatcher has on it.
    #[diesel(select_expression = its_lease())]
    #[diesel(select_expression_type = its_lease)]
    pub lease: Option<i64>,
    /// While it is sent again: since when its customer has it. Given up, it is delivered as of then.
    #[diesel(select_expression = was_delivered_at())]
    #[diesel(select_expression_type = was_delivered_at)]
    pub was_delivered_at: Option<DateTime<Utc>>,
    /// Whether it waits for nothing but its endpoint to be enabled.
    #[diesel(select_expression = is_held())]
    #[diesel(select_expression_type = is_held)]
    pub held: bool,
    /// What its last attempt came to, in a word; `None` before the first.
    #[diesel(select_expression = last_outcome())]
    #[diesel(select_expression_type = last_outcome)]
    pub outcome: Option<String>,
    /// What the customer answered to it.
    #[diesel(select_expression = last_status())]
    #[diesel(select_expression_type = last_status)]
    pub http_status: Option<i16>,
    /// While pending: requests recorded since it was last made due, its place in the schedule.
    #[diesel(select_expression = its_place())]
    #[diesel(select_expression_type = its_place)]
    #[serde(skip)]
    pub place: Option<i32>,
    /// The schedule of its endpoint, in seconds; `None` is the dispatcher's.
    #[diesel(select_expression = its_schedule())]
    #[diesel(select_expression_type = its_schedule)]
    #[serde(skip)]
    pub schedule_s: Option<Vec<i32>>,
}

/// Which deliveries; `None` and empty are any.
///
/// Kept as JSON with a retry of many: a field that this program does not know is refused, because what it leaves out would
/// be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// Named by their webhook ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhook_ids: Vec<String>,
    /// Of this event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Uuid>,
    /// To this endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<String>,
    /// In one of these states.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<String>,
    /// Committed no earlier than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Committed earlier than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Whose last attempt came to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Whose last attempt was answered so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<i16>,
    /// Given up on purpose for this reason, or not on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// There by this moment, and not ended since.
    #[serde(skip)]
    pub as_of: Option<DateTime<Utc>>,
}

/// For which reason deliveries were given up on purpose, as [`DeliveryRow::abandoned_reason`] has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// For none: their schedule ended, or they were not given up.
    None,
    /// For one of these, whatever else is said of their last leases.
    OneOf(Vec<String>),
}

/// One row of `attempts`, by its key: lease numbers only grow.
#[auto_type]
fn last_attempt() -> _ {
    attempts::table
        .filter(attempts::event_id.eq(deliveries::event_id))
        .filter(attempts::endpoint_id.eq(deliveries::endpoint_id))
        .order(attempts::lease.desc())
        .limit(1_i64)
}

#[auto_type]
pub(super) fn last_outcome() -> _ {
    last_attempt().select(attempts::outcome).single_value()
}

#[auto_type]
pub(super) fn last_status() -> _ {
    last_attempt().select(attempts::http_status).single_value()
}

#[auto_type]
fn its_due() -> _ {
    due::table
        .filter(due::event_id.eq(deliveries::event_id))
        .filter(due::endpoint_id.concat("").eq(deliveries::endpoint_id))
}

#[auto_type]
fn its_due_at() -> _ {
    its_due().select(due::due_at).single_value()
}

#[auto_type]
fn its_lease() -> _ {
    its_due().select(due::lease).single_value()
}

#[auto_type]
pub(super) fn was_delivered_at() -> _ {
    its_due().select(due::delivered_at).single_value()
}

#[auto_type]
fn its_place() -> _ {
    its_due().select(due::attempts).single_value()
}

/// As `lanes::promote` finds it.
fn its_head() -> SqlLiteral<Nullable<Text>> {
    sql("(SELECT first.webhook_id FROM due w CROSS JOIN LATERAL ( \
             SELECT h.event_id FROM due h WHERE h.endpoint_id = w.endpoint_id AND h.lane = w.lane \
             ORDER BY (h.due_at IS NULL), h.sequence LIMIT 1) head \
         JOIN deliveries first ON first.event_id = head.event_id AND first.endpoint_id = w.endpoint_id \
         WHERE w.event_id = deliveries.event_id AND w.endpoint_id || '' = deliveries.endpoint_id AND w.due_at IS NULL)")
}

#[auto_type]
fn its_endpoint() -> _ {
    endpoints::table.filter(endpoints::id.eq(deliveries::endpoint_id))
}

#[auto_type]
fn its_schedule() -> _ {
    its_endpoint().select(endpoints::schedule_s).single_value()
}

#[auto_type]
fn is_held() -> _ {
    exists(its_due()).and(exists(its_endpoint().filter(endpoints::enabled.eq(false))))
}

/// Says what is wanted, and not how it is found.
pub(super) fn matching(wanted: &Wanted) -> IntoBoxed<'_, deliveries::table, Pg> {
    let mut query = deliveries::table.into_boxed();
    if !wanted.states.is_empty() {
        query = query.filter(deliveries::state.eq_any(&wanted.states));
    }
    if !wanted.webhook_ids.is_empty() {
        query = query.filter(deliveries::webhook_id.eq_any(&wanted.webhook_ids));
    }
    if let Some(event_id) = wanted.event_id {
        query = query.filter(deliveries::event_id.eq(event_id));
    }
    if let Some(endpoint_id) = &wanted.endpoint_id {
        query = query.filter(deliveries::endpoint_id.eq(endpoint_id));
    }
    if let Some(since) = wanted.since {
        query = query.filter(deliveries::created_at.ge(since));
    }
    if let Some(until) = wanted.until {
        query = query.filter(deliveries::created_at.lt(until));
    }
    if let Some(outcome) = &wanted.outcome {
        query = query.filter(last_outcome().eq(outcome));
    }
    if let Some(http_status) = wanted.http_status {
        query = query.filter(last_status().eq(http_status));
    }
    query = match &wanted.reason {
        None => query,
        Some(Reason::None) => query.filter(deliveries::abandoned_reason.is_null()),
        Some(Reason::OneOf(reasons)) => {
            let kept: Vec<_> = reasons.iter().flat_map(|reason| as_kept(reason)).collect();
            query.filter(deliveries::abandoned_reason.eq_any(kept))
        }
    };
    if let Some(as_of) = wanted.as_of {
        let ended = deliveries::finished_at.is_null().or(deliveries::finished_at.le(as_of));
        query = query.filter(deliveries::created_at.le(as_of)).filter(ended);
    }
    query
}

/// All of those wanted, by one statement: for an event that is named, or for webhook ids. Of an event they are found by key.
/// Webhook ids are hashes that stand in no index: for them alone every delivery is read.
///
/// # Errors
/// As any query.
pub async fn find(conn: &AsyncPgConnection, wanted: &Wanted) -> QueryResult<Vec<DeliveryRow>> {
    matching(wanted)
        .order((deliveries::event_id.desc(), deliveries::endpoint_id))
        .select(DeliveryRow::as_select())
        .load(&mut &*conn)
        .await
}
