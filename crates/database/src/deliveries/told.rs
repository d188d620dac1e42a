//! What one endpoint is owed, in the order in which it was committed.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;
use vocabulary::EndpointId;

use crate::{
    QueryResult,
    events::first_id_at,
    schema::{deliveries, events},
};

/// An event of a source as one endpoint sees it: what it is owed of it, if anything.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Told {
    /// Which event.
    pub event_id: Uuid,
    /// Its place among the events of its source.
    pub sequence: Option<i64>,
    /// Under which id it is owed; `None` where it is not.
    pub webhook_id: Option<String>,
    /// In which format.
    pub format: Option<String>,
}

/// The events of a source with these numbers, in their order, as far as their ids say that they were made since `since`:
/// by the clocks of the workers, so that a caller who misses one may look further back. Those that an endpoint is not owed
/// are among them, so that a caller can see that there are no gaps.
///
/// # Errors
/// As any query.
pub async fn told(
    conn: &AsyncPgConnection,
    endpoint: &EndpointId,
    source: &str,
    numbers: RangeInclusive<i64>,
    since: DateTime<Utc>,
) -> QueryResult<Vec<Told>> {
    let (first, last) = numbers.into_inner();
    let is_owed = deliveries::event_id.eq(events::id).and(deliveries::endpoint_id.eq(endpoint.as_str()));
    events::table
        .left_join(deliveries::table.on(is_owed))
        .filter(events::id.ge(first_id_at(since)))
        .filter(events::source_id.eq(source))
        .filter(events::sequence.between(first, last))
        .order(events::sequence)
        .select((events::id, events::sequence, deliveries::webhook_id.nullable(), deliveries::format.nullable()))
        .load(&mut &*conn)
        .await
}
