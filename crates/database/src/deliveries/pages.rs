//! Looking deliveries through page by page.
//!
//! No index knows what last attempts came to, or just when events were committed. A statement that is to find so many that
//! fit reads everything when hardly any do, for longer than the server lets it. So a page is so many deliveries *looked at*:
//! their places come from the index that has those of a state in their order, they are looked up by key, and whoever looks
//! goes on after the last place, though nothing before it was wanted.
//!
//! A window of time is a stretch of that order, because the ids of events begin with when they were made; only not to the
//! moment, because a worker made them by its own clock, and `created_at` is Postgres's. So the stretch is longer than the
//! window by an hour at either end, and which of its deliveries are in the window `created_at` says.
//!
//! Each page is as of the moment in which it is read. What changes meanwhile is seen as it is when its page comes.

use diesel::{
    dsl::{IntoBoxed, sql},
    pg::Pg,
    prelude::*,
    sql_types::{Array, Bool, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{
    places::{self, Order, Place},
    wanted::{DeliveryRow, Wanted, matching},
};
use crate::{QueryResult, schema::deliveries};

/// So many deliveries are looked at by one statement, for some milliseconds; it would take seconds only from the slowest of
/// disks, and `statement_timeout` is 30.
pub const LOOKED_AT: usize = 2_000;

/// What was found among the deliveries that come next.
#[derive(Debug)]
pub struct Page {
    /// Those that are wanted, in the order of places. There may be none, and more to come.
    pub rows: Vec<DeliveryRow>,
    /// How many were looked at for them, [`LOOKED_AT`] at most.
    pub looked_at: usize,
    /// After which place to go on; `None` when nothing is left.
    pub next: Option<Place>,
}

/// A page, of which it is not known yet what is wanted of it.
pub(super) struct Look<'a> {
    wanted: &'a Wanted,
    places: Vec<Place>,
}

impl<'a> Look<'a> {
    /// The next deliveries that may be wanted, or the first.
    pub(super) async fn at(
        conn: &AsyncPgConnection,
        wanted: &'a Wanted,
        order: Order,
        after: Option<&Place>,
    ) -> QueryResult<Self> {
        Ok(Self { wanted, places: places::next(conn, wanted, order, after).await? })
    }

    /// What is wanted of it. Each is looked up by its key and read where it was found (`ctid`): a join on the key may be planned
    /// as a scan of the table, and by event alone those are read too that others have of it.
    pub(super) fn matching(&self) -> IntoBoxed<'_, deliveries::table, Pg> {
        let wants = |place: &&Place| self.wanted.endpoint_id.as_ref().is_none_or(|id| *id == place.endpoint_id);
        let places = self.places.iter().filter(wants).map(|place| (place.event_id, place.endpoint_id.as_str()));
        let (events, endpoints): (Vec<Uuid>, Vec<&str>) = places.unzip();
        let is_there = sql::<Bool>(
            "deliveries.ctid = ANY (ARRAY(SELECT (SELECT d.ctid FROM deliveries d \
             WHERE d.event_id = p.event_id AND d.endpoint_id = p.endpoint_id) FROM unnest(",
        );
        let is_there = is_there.bind::<Array<SqlUuid>, _>(events).sql(", ").bind::<Array<Text>, _>(endpoints);
        matching(self.wanted).filter(is_there.sql(") AS p (event_id, endpoint_id)))"))
    }

    /// How many it holds.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// After which place to go on; `None` when nothing is left.
    pub(super) fn next(&self) -> Option<Place> {
        self.places.get(LOOKED_AT - 1).cloned()
    }
}

/// Of the next [`LOOKED_AT`] deliveries after a place those that are wanted, `limit` at most. Looks for one more than that, so
/// that whoever takes the last ones mostly knows.
///
/// # Errors
/// As any query.
pub async fn page(conn: &AsyncPgConnection, wanted: &Wanted, after: Option<&Place>, limit: usize) -> QueryResult<Page> {
    let look = Look::at(conn, wanted, Order::Forwards, after).await?;
    let mut rows: Vec<DeliveryRow> = look
        .matching()
        .order((deliveries::event_id, deliveries::endpoint_id))
        .limit(at_most(limit.saturating_add(1)))
        .select(DeliveryRow::as_select())
        .load(&mut &*conn)
        .await?;
    if rows.len() <= limit {
        return Ok(Page { rows, looked_at: look.len(), next: look.next() });
    }
    rows.truncate(limit);
    let next = rows.last().map(DeliveryRow::place);
    let passed = look.places.iter().position(|place| Some(place) == next.as_ref());
    Ok(Page { rows, looked_at: passed.map_or(0, |passed| passed + 1), next })
}

/// The newest `limit` deliveries of those wanted, the newest first. `looked` hears of each page how many it held.
///
/// Abandoned and pending ones are found without reading the others. Anything else reads deliveries from the newest on until
/// there are enough, or those of the window are read.
///
/// # Errors
/// As any query.
pub async fn list(
    conn: &AsyncPgConnection,
    wanted: &Wanted,
    limit: usize,
    mut looked: impl FnMut(usize),
) -> QueryResult<Vec<DeliveryRow>> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let look = Look::at(conn, wanted, Order::Backwards, after.as_ref()).await?;
        let newest = look
            .matching()
            .order((deliveries::event_id.desc(), deliveries::endpoint_id.desc()))
            .limit(at_most(limit - rows.len()))
            .select(DeliveryRow::as_select());
        rows.extend(newest.load::<DeliveryRow>(&mut &*conn).await?);
        looked(look.len());
        after = look.next();
        if rows.len() >= limit || after.is_none() {
            return Ok(rows);
        }
    }
}

fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
