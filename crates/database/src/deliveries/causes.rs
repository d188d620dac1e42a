//! Deliveries grouped by what their last attempts came to, and by why they were given up on purpose.

use std::{cmp::Reverse, collections::BTreeMap};

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;

use super::{
    pages::Look,
    places::Order,
    wanted::{Wanted, last_outcome, last_status, was_delivered_at},
};
use crate::{QueryResult, schema::deliveries};

/// Deliveries to one endpoint whose last attempts came to the same, and that were given up for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// To whom.
    pub endpoint_id: String,
    /// What the last attempts came to, in a word; `None` where there was none.
    pub outcome: Option<String>,
    /// What the customer answered to them.
    pub http_status: Option<i16>,
    /// Why they were given up on purpose; `None` where they were not.
    pub abandoned_reason: Option<String>,
    /// How many.
    pub count: u64,
    /// How many of these their customer has, and are only sent again: given up, they are delivered as before.
    pub sent_again: u64,
    /// When the first of their events was committed.
    pub oldest: DateTime<Utc>,
    /// When the last was.
    pub newest: DateTime<Utc>,
}

/// What the last attempt of a delivery to an endpoint came to: a word, and what was answered. And why it was given up on purpose.
type Same = (String, Option<String>, Option<i16>, Option<String>);

impl Cause {
    fn of((endpoint_id, outcome, http_status, abandoned_reason): Same, created_at: DateTime<Utc>) -> Self {
        let (oldest, newest) = (created_at, created_at);
        Self { endpoint_id, outcome, http_status, abandoned_reason, count: 0, sent_again: 0, oldest, newest }
    }

    fn add(&mut self, created_at: DateTime<Utc>, is_sent_again: bool) {
        self.count += 1;
        self.sent_again += u64::from(is_sent_again);
        self.oldest = self.oldest.min(created_at);
        self.newest = self.newest.max(created_at);
    }
}

/// What is wanted, by endpoint and cause, the largest group first. `looked` hears of each page how many it held.
///
/// Looks through everything that may be wanted, page by page, so that no statement runs long; two rows of `attempts` and one
/// of `due` for each that is. In memory there is a page, and a row for each group. Each page is counted as of the moment in which it is read.
///
/// # Errors
/// As any query.
pub async fn causes(
    conn: &AsyncPgConnection,
    wanted: &Wanted,
    mut looked: impl FnMut(usize),
) -> QueryResult<Vec<Cause>> {
    let (mut causes, mut after) = (BTreeMap::<Same, Cause>::new(), None);
    loop {
        let look = Look::at(conn, wanted, Order::Forwards, after.as_ref()).await?;
        let same = (deliveries::endpoint_id, last_outcome(), last_status(), deliveries::abandoned_reason);
        let rows: Vec<(Same, DateTime<Utc>, Option<DateTime<Utc>>)> =
            look.matching().select((same, deliveries::created_at, was_delivered_at())).load(&mut &*conn).await?;
        for (same, created_at, delivered_at) in rows {
            let cause = causes.entry(same).or_insert_with_key(|same| Cause::of(same.clone(), created_at));
            cause.add(created_at, delivered_at.is_some());
        }
        looked(look.len());
        after = look.next();
        if after.is_none() {
            break;
        }
    }
    let mut causes: Vec<_> = causes.into_values().collect();
    causes.sort_by_key(|cause| Reverse(cause.count));
    Ok(causes)
}
