//! Where the next deliveries stand that may be wanted: by the index that has those, in their order, and hardly any others.

use chrono::TimeDelta;
use diesel::{
    QueryableByName,
    sql_types::{Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{
    pages::LOOKED_AT,
    wanted::{DeliveryRow, Wanted},
};
use crate::{QueryResult, events::first_id_at};

/// So far the clocks of workers and of Postgres may be apart before `since` and `until` miss something. Whoever keeps time at
/// all is seconds away, and to look an hour further costs a page for each two thousand deliveries of that hour.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::hours(1);

/// As `due_by_endpoint` has it. That says of its rows that this is not empty, which is true of all, and serves only who says
/// so too.
const ENDPOINT: &str = "endpoint_id COLLATE \"C\"";

/// Where a delivery stands among all.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Place {
    /// What is owed.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// To whom.
    #[diesel(sql_type = Text)]
    pub endpoint_id: String,
}

impl DeliveryRow {
    /// Where it stands.
    pub fn place(&self) -> Place {
        Place { event_id: self.event_id, endpoint_id: self.endpoint_id.clone() }
    }
}

/// In which order deliveries are looked at: that of places, or the reverse, which begins with the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Forwards,
    Backwards,
}

impl Order {
    /// How what comes next compares with a place, and how it is sorted.
    fn in_sql(self) -> (&'static str, &'static str) {
        match self {
            Self::Forwards => (">", "ASC"),
            Self::Backwards => ("<", "DESC"),
        }
    }
}

/// The next [`LOOKED_AT`] after a place, or the first.
pub(super) async fn next(
    conn: &AsyncPgConnection,
    wanted: &Wanted,
    order: Order,
    after: Option<&Place>,
) -> QueryResult<Vec<Place>> {
    match (&wanted.endpoint_id, wanted.event_id, &wanted.states[..]) {
        (Some(endpoint_id), None, [state]) if state == "pending" => {
            owed_to(conn, endpoint_id, wanted, order, after).await
        }
        _ => among_all(conn, wanted, order, after).await,
    }
}

async fn among_all(
    conn: &AsyncPgConnection,
    wanted: &Wanted,
    order: Order,
    after: Option<&Place>,
) -> QueryResult<Vec<Place>> {
    let (beyond, direction) = order.in_sql();
    let Stretch { first, last } = Stretch::of(wanted);
    let bounds = [wanted.event_id.map(|id| ("=", id)), first.map(|id| (">=", id)), last.map(|id| ("<", id))];
    let bounds = bounds.into_iter().flatten().map(|(compared, id)| format!("AND event_id {compared} '{id}' "));
    let beyond = after.map(|_| format!("AND (event_id, endpoint_id) {beyond} ($1, $2)")).unwrap_or_default();
    let query = format!(
        "SELECT event_id, endpoint_id FROM {} {} {beyond} \
         ORDER BY event_id {direction}, endpoint_id {direction} LIMIT {LOOKED_AT}",
        found_in(&wanted.states),
        bounds.collect::<String>()
    );
    let mut query = diesel::sql_query(query).into_boxed();
    if let Some(Place { event_id, endpoint_id }) = after {
        query = query.bind::<SqlUuid, _>(*event_id).bind::<Text, _>(endpoint_id.clone());
    }
    query.load(&mut &*conn).await
}

/// Of what is pending that of one endpoint. It is bounded from below and from above, and not said to be equal: the order of the
/// events alone the primary key has too, and Postgres would read everybody's in it to find some of one.
async fn owed_to(
    conn: &AsyncPgConnection,
    endpoint_id: &str,
    wanted: &Wanted,
    order: Order,
    after: Option<&Place>,
) -> QueryResult<Vec<Place>> {
    let Stretch { first, last } = Stretch::of(wanted);
    let (first, last, after) =
        (first.map(|id| (">=", id)), last.map(|id| ("<", id)), after.map(|place| place.event_id));
    let (first, last) = match order {
        Order::Forwards => (after.map(|id| (">", id)).or(first), last),
        Order::Backwards => (first, after.map(|id| ("<", id)).or(last)),
    };
    let bound = |bound: Option<(&str, Uuid)>, any: &str| match bound {
        Some((compared, id)) => format!("({ENDPOINT}, event_id) {compared} ($1, '{id}')"),
        None => format!("{ENDPOINT} {any} $1"),
    };
    let (_, direction) = order.in_sql();
    let query = format!(
        "SELECT event_id, endpoint_id FROM due WHERE {ENDPOINT} > '' AND {} AND {} \
         ORDER BY {ENDPOINT} {direction}, event_id {direction} LIMIT {LOOKED_AT}",
        bound(first, ">="),
        bound(last, "<=")
    );
    diesel::sql_query(query).bind::<Text, _>(endpoint_id).load(&mut &*conn).await
}

/// Which events those of a window of time may be: all that were made at about the time.
struct Stretch {
    /// No earlier than this.
    first: Option<Uuid>,
    /// Earlier than this.
    last: Option<Uuid>,
}

impl Stretch {
    fn of(wanted: &Wanted) -> Self {
        let first = wanted.since.map(|since| since.checked_sub_signed(CLOCKS_DIFFER).unwrap_or(since));
        let last = wanted.until.map(|until| until.checked_add_signed(CLOCKS_DIFFER).unwrap_or(until));
        Self { first: first.map(first_id_at), last: last.map(first_id_at) }
    }
}

/// Where those of these states stand in their order, and hardly any others.
fn found_in(states: &[String]) -> &'static str {
    match states {
        [state] if state == "abandoned" => "deliveries WHERE abandoned_at IS NOT NULL",
        [state] if state == "pending" => "due WHERE true",
        _ => "deliveries WHERE true",
    }
}
