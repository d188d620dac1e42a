//! Who may want the events of a source.

use std::sync::Arc;

use diesel::sql_types::{Array, Bool, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tracing::warn;
use vocabulary::{EndpointId, EventTypes, Filter, Format, OrderedBy};

use super::{Target, TargetColumns};
use crate::error::OpenError;

statement! {
    /// Disabled endpoints too: what they are owed is held, not dropped.
    Subscriptions { source_ids: &'a [&'a str] => Array<Text> } -> (
        Text, Text, Array<Text>, Nullable<Text>, Text, Bool, Nullable<Text>, TargetColumns
    ),
    "SELECT s.id, e.id, e.event_types, e.filter, e.format, \
         e.enabled AND e.ordered_by IS NULL AND NOT EXISTS (SELECT FROM gates g WHERE g.endpoint_id = e.id), e.ordered_by, \
         e.url, e.secrets, e.secret_ends, e.access, e.schedule_s \
     FROM sources s JOIN endpoints e ON e.account_id = s.account_id \
     WHERE s.id = ANY(?) AND (e.source_ids IS NULL OR s.id = ANY(e.source_ids)) ORDER BY e.id"
}

/// An endpoint that may want a source's events.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Whose events.
    pub source_id: String,
    /// Who may want them.
    pub endpoint_id: EndpointId,
    /// Which of them.
    pub event_types: EventTypes,
    /// What their full body must say; `None` is anything.
    pub filter: Option<Filter>,
    /// Which body it is told.
    pub format: Format,
    /// Whether what it is owed may be handed over: what a disabled one is owed is held, and where there is a gate or an order
    /// it is for a lease to decide.
    pub may_be_handed_over: bool,
    /// What its deliveries are ordered by.
    pub ordered_by: Option<OrderedBy>,
    /// Where to, and what signs it.
    pub target: Arc<Target>,
}

/// A filter of a later version, or of somebody else's hand, is no reason to stop the account's events: what cannot be read is
/// wanted.
fn readable(endpoint: &str, filter: &str) -> Option<Filter> {
    let read = filter.parse::<Filter>();
    let warn =
        |error: &_| warn!(endpoint.id = endpoint, "{endpoint} is told everything: its filter cannot be read: {error}");
    read.inspect_err(warn).ok()
}

/// Who may want the events of these sources: the endpoints of their accounts.
///
/// # Errors
/// As any query, or when a row holds what latchhook would not have written.
pub async fn subscriptions(conn: &AsyncPgConnection, source_ids: &[&str]) -> Result<Vec<Subscription>, OpenError> {
    let query = Subscriptions { source_ids, lifetime: std::marker::PhantomData };
    type Row = (String, String, Vec<String>, Option<String>, String, bool, Option<String>, Target);
    let rows: Vec<Row> = query.load(&mut &*conn).await?;
    let read = |(source_id, id, names, filter, format, may_be_handed_over, ordered_by, target): Row| {
        Ok(Subscription {
            source_id,
            endpoint_id: id.parse()?,
            event_types: EventTypes::from_names(names)?,
            filter: filter.and_then(|filter| readable(&id, &filter)),
            format: format.parse()?,
            may_be_handed_over,
            ordered_by: ordered_by.map(|name| name.parse()).transpose()?,
            target: Arc::new(target),
        })
    };
    rows.into_iter().map(read).collect()
}
