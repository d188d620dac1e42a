//! What is quarantined, grouped by reason.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use database::quarantine::QuarantinedRow;
use serde::Serialize;

/// So many ids are named of a group.
const NAMED: usize = 20;

/// Rows that share a reason.
#[derive(Debug, Serialize)]
pub(super) struct Group<'a> {
    reason: &'a str,
    count: usize,
    open: usize,
    settled: usize,
    discarded: usize,
    oldest: DateTime<Utc>,
    newest: DateTime<Utc>,
    /// The first of them.
    ids: Vec<i64>,
}

/// The largest group first.
pub(super) fn of(rows: &[QuarantinedRow]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|group| group.reason == row.reason) {
            Some(group) => group.add(row),
            None => groups.push(Group::of(row)),
        }
    }
    groups.sort_by_key(|group| Reverse(group.count));
    groups
}

impl<'a> Group<'a> {
    fn of(row: &'a QuarantinedRow) -> Self {
        let (oldest, newest) = (row.created_at, row.created_at);
        let mut group =
            Self { reason: &row.reason, count: 0, open: 0, settled: 0, discarded: 0, oldest, newest, ids: Vec::new() };
        group.add(row);
        group
    }

    fn add(&mut self, row: &QuarantinedRow) {
        self.count += 1;
        match row.resolution.as_deref() {
            None => self.open += 1,
            Some("discarded") => self.discarded += 1,
            Some(_) => self.settled += 1,
        }
        self.oldest = self.oldest.min(row.created_at);
        self.newest = self.newest.max(row.created_at);
        if self.ids.len() < NAMED {
            self.ids.push(row.id);
        }
    }
}
