//! `deliveries`: events owed to endpoints.
//!
//! ```text
//!   COMMIT ──▶ pending ──2xx, however late──▶ delivered
//!                │  ▲                            ▲
//!    schedule ends  a person's retry             │ late success
//!                ▼  │                            │
//!             abandoned ─────────────────────────┘
//! ```
//! Each pending delivery has its row in `due`; `due.rs` leases it, `attempts.rs` records what came of it.

use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;
use vocabulary::{EndpointId, WebhookId};

use crate::QueryResult;

/// An event owed to an endpoint.
#[derive(Debug, Clone)]
pub struct NewDelivery<'a> {
    /// What is owed.
    pub event_id: Uuid,
    /// To whom.
    pub endpoint_id: &'a EndpointId,
    /// Under which id, on every attempt.
    pub webhook_id: WebhookId,
}

statement! {
    /// The delivery and its due row: one statement, so that there is never one without the other.
    Owe {
        events: Vec<Uuid> => Array<SqlUuid>,
        endpoints: Vec<&'a str> => Array<Text>,
        webhook_ids: Vec<&'a str> => Array<Text>,
    } -> (),
    "WITH owed AS (INSERT INTO deliveries (event_id, endpoint_id, webhook_id) SELECT * FROM unnest(?, ?, ?) \
     RETURNING event_id, endpoint_id) \
     INSERT INTO due (event_id, endpoint_id) SELECT event_id, endpoint_id FROM owed"
}

/// Writes what some new events owe; due at once.
///
/// # Errors
/// As any query.
pub async fn owe(conn: &AsyncPgConnection, deliveries: &[NewDelivery<'_>]) -> QueryResult<()> {
    let statement = Owe {
        events: deliveries.iter().map(|delivery| delivery.event_id).collect(),
        endpoints: deliveries.iter().map(|delivery| delivery.endpoint_id.as_str()).collect(),
        webhook_ids: deliveries.iter().map(|delivery| delivery.webhook_id.as_str()).collect(),
        lifetime: std::marker::PhantomData,
    };
    statement.execute(&mut &*conn).await.map(drop)
}
