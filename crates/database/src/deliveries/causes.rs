//! Deliveries grouped by what their last attempts came to.

use std::{cmp::Reverse, collections::BTreeMap};

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use serde::Serialize;

use super::wanted::{DeliveryRow, Wanted, page};
use crate::QueryResult;

/// So many rows are read by one statement.
const PAGE: i64 = 10_000;

/// Deliveries to one endpoint whose last attempts came to the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// To whom.
    pub endpoint_id: String,
    /// What the last attempts came to, in a word; `None` where there was none.
    pub outcome: Option<String>,
    /// What the customer answered to them.
    pub http_status: Option<i16>,
    /// How many.
    pub count: u64,
    /// When the first of their events was committed.
    pub oldest: DateTime<Utc>,
    /// When the last was.
    pub newest: DateTime<Utc>,
}

impl Cause {
    fn of(row: &DeliveryRow) -> Self {
        Self {
            endpoint_id: row.endpoint_id.clone(),
            outcome: row.outcome.clone(),
            http_status: row.http_status,
            count: 0,
            oldest: row.created_at,
            newest: row.created_at,
        }
    }

    fn add(&mut self, row: &DeliveryRow) {
        self.count += 1;
        self.oldest = self.oldest.min(row.created_at);
        self.newest = self.newest.max(row.created_at);
    }
}

/// What is wanted, by endpoint and cause, the largest group first.
///
/// Reads every delivery that is wanted, by pages, so that no statement runs long; two rows of `attempts` for each. In
/// memory there is a page, and a row for each group.
///
/// # Errors
/// As any query.
pub async fn causes(conn: &AsyncPgConnection, wanted: &Wanted) -> QueryResult<Vec<Cause>> {
    let (mut causes, mut after) = (BTreeMap::new(), None);
    loop {
        let rows = page(conn, wanted, after.as_ref(), PAGE).await?;
        for row in &rows {
            let same = (row.endpoint_id.clone(), row.outcome.clone(), row.http_status);
            causes.entry(same).or_insert_with(|| Cause::of(row)).add(row);
        }
        match rows.last() {
            Some(last) => after = Some(last.place()),
            None => break,
        }
    }
    let mut causes: Vec<_> = causes.into_values().collect();
    causes.sort_by_key(|cause| Reverse(cause.count));
    Ok(causes)
}
