//! What an endpoint asks for, written: all of it, or what changes.

use std::time::Duration;

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use vocabulary::{EndpointId, EventTypes, Filter, Format, GiveUpOn, OrderedBy, SourceId, Terms};

use super::EndpointRow;
use crate::{
    QueryResult, due, gates,
    schema::{self, endpoints},
};

/// What changes of an endpoint: `None` stays as it is, `Some(None)` is taken away. Only what is given is written, so that of
/// two changes at the same time neither undoes the other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// Where deliveries go; checked by the guard before it comes here.
    pub url: Option<String>,
    /// What it wants to hear of.
    pub event_types: Option<EventTypes>,
    /// Whose events it wants.
    pub sources: Option<Option<Vec<SourceId>>>,
    /// What their body must say.
    pub filter: Option<Option<Filter>>,
    /// Which body it is told.
    pub format: Option<Format>,
    /// The pauses between attempts.
    pub schedule: Option<Option<Vec<Duration>>>,
    /// After which answers nothing is tried again.
    pub give_up_on: Option<Option<GiveUpOn>>,
    /// Requests at the same time, of the whole fleet.
    pub max_in_flight: Option<Option<u32>>,
    /// Requests per second, of the whole fleet.
    pub max_per_second: Option<Option<f64>>,
    /// What its deliveries are ordered by.
    pub ordered_by: Option<Option<OrderedBy>>,
}

impl Change {
    /// To this URL and these terms, whatever they were.
    pub fn to(url: &str, terms: &Terms) -> Self {
        let Terms { event_types, sources, filter, format, schedule, give_up_on, .. } = terms.clone();
        Self {
            url: Some(url.to_owned()),
            event_types: Some(event_types),
            sources: Some(sources),
            filter: Some(filter),
            format: Some(format),
            schedule: Some(schedule),
            give_up_on: Some(give_up_on),
            max_in_flight: Some(terms.max_in_flight),
            max_per_second: Some(terms.max_per_second),
            ordered_by: Some(terms.ordered_by),
        }
    }

    /// What changes, as commands name it.
    pub fn names(&self) -> Vec<&'static str> {
        let terms = [
            ("url", self.url.is_some()),
            ("events", self.event_types.is_some()),
            ("sources", self.sources.is_some()),
            ("filter", self.filter.is_some()),
            ("format", self.format.is_some()),
            ("schedule", self.schedule.is_some()),
            ("give-up-on", self.give_up_on.is_some()),
            ("max-in-flight", self.max_in_flight.is_some()),
            ("max-per-second", self.max_per_second.is_some()),
            ("ordered-by", self.ordered_by.is_some()),
        ];
        terms.into_iter().filter_map(|(name, changes)| changes.then_some(name)).collect()
    }

    fn limits(&self) -> bool {
        self.max_in_flight.flatten().is_some() || self.max_per_second.flatten().is_some()
    }
}

/// The same, as the columns keep it.
#[derive(AsChangeset)]
#[diesel(table_name = endpoints)]
struct Columns<'a> {
    url: Option<&'a str>,
    event_types: Option<&'a [String]>,
    source_ids: Option<Option<Vec<&'a str>>>,
    filter: Option<Option<String>>,
    format: Option<&'static str>,
    schedule_s: Option<Option<Vec<i32>>>,
    give_up_on: Option<Option<Vec<i16>>>,
    max_in_flight: Option<Option<i32>>,
    max_per_second: Option<Option<f64>>,
    ordered_by: Option<Option<&'static str>>,
}

impl<'a> Columns<'a> {
    fn of(change: &'a Change) -> Self {
        let ids =
            |sources: &'a Option<Vec<SourceId>>| sources.as_ref().map(|ids| ids.iter().map(SourceId::as_str).collect());
        Self {
            url: change.url.as_deref(),
            event_types: change.event_types.as_ref().map(EventTypes::names),
            source_ids: change.sources.as_ref().map(ids),
            filter: change.filter.as_ref().map(|filter| filter.as_ref().map(Filter::to_string)),
            format: change.format.map(Format::as_str),
            schedule_s: change.schedule.as_ref().map(|pauses| pauses.as_deref().map(seconds)),
            give_up_on: change.give_up_on.as_ref().map(|given| given.as_ref().map(statuses)),
            max_in_flight: change.max_in_flight.map(|most| most.map(|most| i32::try_from(most).unwrap_or(i32::MAX))),
            max_per_second: change.max_per_second,
            ordered_by: change.ordered_by.map(|what| what.map(OrderedBy::as_str)),
        }
    }
}

fn seconds(pauses: &[Duration]) -> Vec<i32> {
    pauses.iter().map(|pause| i32::try_from(pause.as_secs()).unwrap_or(i32::MAX)).collect()
}

fn statuses(given: &GiveUpOn) -> Vec<i16> {
    given.statuses().iter().map(|status| i16::try_from(*status).unwrap_or(i16::MAX)).collect()
}

/// Changes an endpoint. Gives it as it stands then, or `None` where there is none of that id. At another URL nothing is known of
/// it: how the former one stood is forgotten, and what was to be tried there later is due at once, a chunk of it at most;
/// [`due::catch_up`] goes over the rest once this is committed.
///
/// # Errors
/// As any query. To be called in a transaction.
pub async fn set(conn: &AsyncPgConnection, id: &EndpointId, change: &Change) -> QueryResult<Option<EndpointRow>> {
    let url = change.url.as_deref().unwrap_or_default();
    let is_elsewhere = endpoints::table.find(id.as_str()).filter(endpoints::url.ne(url)).for_no_key_update();
    let moves = change.url.is_some()
        && is_elsewhere.select(endpoints::id).first::<String>(&mut &*conn).await.optional()?.is_some();
    let changed = diesel::update(endpoints::table.find(id.as_str()))
        .set((Columns::of(change), endpoints::revision.eq(crate::sequences::next_revision())))
        .returning(EndpointRow::as_returning())
        .get_result(&mut &*conn)
        .await
        .optional()?;
    if moves {
        gates::lift(conn, id).await?;
        due::catch_up_first(conn, id).await?;
    }
    if changed.is_some() && change.limits() {
        give_gate(conn, id).await?;
    }
    Ok(changed)
}

/// Limits are kept by a gate.
async fn give_gate(conn: &AsyncPgConnection, id: &EndpointId) -> QueryResult<()> {
    let gate = schema::gates::endpoint_id.eq(id.as_str());
    let insert = diesel::insert_into(schema::gates::table).values(gate).on_conflict_do_nothing();
    insert.execute(&mut &*conn).await.map(drop)
}
