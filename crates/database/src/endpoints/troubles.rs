//! What went wrong with deliveries to an endpoint, for people who look.
//!
//! No index knows an endpoint's attempts by time, or what was given up for it alone. So no more is read than a page of
//! [`LOOKED_AT`] from either place where such deliveries stand: `due`, and `deliveries_abandoned`.

use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Nullable, SmallInt, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use vocabulary::EndpointId;

use crate::{QueryResult, deliveries::LOOKED_AT};

/// How many deliveries to an endpoint stand abandoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct Abandoned {
    /// Of the newest [`LOOKED_AT`] that are, to whomever.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    /// Whether there may be more: not all were looked at.
    #[diesel(sql_type = Bool)]
    pub or_more: bool,
}

/// How many deliveries to an endpoint stand abandoned, as far as that is soon known.
///
/// # Errors
/// As any query.
pub async fn abandoned(conn: &AsyncPgConnection, id: &EndpointId) -> QueryResult<Abandoned> {
    let query = format!(
        "SELECT count(*) FILTER (WHERE endpoint_id = $1) AS count, count(*) = {LOOKED_AT} AS or_more FROM ({NEWEST_ABANDONED} \
         LIMIT {LOOKED_AT}) AS newest"
    );
    diesel::sql_query(query).bind::<Text, _>(id.as_str()).get_result(&mut &*conn).await
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, QueryableByName)]
pub struct Failure {
    /// Why, in a word.
    #[diesel(sql_type = Text)]
    pub outcome: String,
    /// What the customer answered.
    #[diesel(sql_type = Nullable<SmallInt>)]
    pub http_status: Option<i16>,
    /// When it began.
    #[diesel(sql_type = Timestamptz)]
    pub started_at: DateTime<Utc>,
}

/// The last attempt that failed of the deliveries to an endpoint that wait for another, or were given up. Of those that wait the
/// [`LOOKED_AT`] are looked at that wait longest from now. Lease numbers only grow, so the highest is the last.
///
/// # Errors
/// As any query.
pub async fn last_failure(conn: &AsyncPgConnection, id: &EndpointId) -> QueryResult<Option<Failure>> {
    let query = format!(
        "WITH failed (event_id) AS ( \
             (SELECT event_id FROM due WHERE endpoint_id = $1 AND retry ORDER BY due_at DESC LIMIT {LOOKED_AT}) UNION \
             SELECT event_id FROM ({NEWEST_ABANDONED} LIMIT {LOOKED_AT}) AS newest WHERE endpoint_id = $1) \
         SELECT a.outcome, a.http_status, a.started_at FROM failed f CROSS JOIN LATERAL ( \
             SELECT lease, outcome, http_status, started_at FROM attempts \
             WHERE event_id = f.event_id AND endpoint_id = $1 ORDER BY lease DESC LIMIT 1) a \
         ORDER BY a.lease DESC LIMIT 1"
    );
    diesel::sql_query(query).bind::<Text, _>(id.as_str()).get_result(&mut &*conn).await.optional()
}

/// In the order of their index.
const NEWEST_ABANDONED: &str = "SELECT event_id, endpoint_id FROM deliveries WHERE abandoned_at IS NOT NULL \
                                ORDER BY event_id DESC, endpoint_id DESC";
