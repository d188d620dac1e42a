//! Who may want the events of an account.
//!
//! Whoever has read it keeps it, and asks in each transaction whether it is the same still: `accounts.endpoints_revision` is
//! another one after every change of an endpoint or of its account's ranges, whoever makes it. One statement reads it and the
//! endpoints, which is one snapshot, so the two fit together.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use diesel::sql_types::{Array, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tracing::warn;
use uuid::Uuid;
use vocabulary::{EndpointId, EventTypes, Filter, Format, OrderedBy};

use super::{Target, TargetColumns};
use crate::error::OpenError;

/// The columns of a [`Row`], in its order.
type Columns = (Text, Array<Text>, Nullable<Array<Text>>, Nullable<Text>, Text, Bool, Nullable<Text>, TargetColumns);
type Row = (String, Vec<String>, Option<Vec<String>>, Option<String>, String, bool, Option<String>, Target);

statement! {
    /// Disabled endpoints too: what they are owed is held, not dropped.
    ///
    /// Those of an account whose revision is known are not looked at. OFFSET 0 says so to the planner, which might else join
    /// all endpoints first, and then drop them: inside, the comparison of revisions is asked once an account.
    Pages { accounts: Vec<&'a str> => Array<Text>, known: Vec<Option<Uuid>> => Array<Nullable<SqlUuid>> } -> (
        Text, SqlUuid, Nullable<Columns>
    ),
    "SELECT a.id, a.endpoints_revision, e.* \
     FROM unnest(?, ?) AS asked (account_id, known) JOIN accounts a ON a.id = asked.account_id \
     LEFT JOIN LATERAL ( \
         SELECT id, event_types, source_ids, filter, format, \
             enabled AND ordered_by IS NULL AND max_in_flight IS NULL AND max_per_second IS NULL, ordered_by, \
             account_id, url, secrets, secret_ends, access, schedule_s, give_up_on, revision, a.allowed_private \
         FROM endpoints WHERE account_id = a.id AND a.endpoints_revision IS DISTINCT FROM asked.known OFFSET 0) e ON true"
}

/// The endpoints of an account as they stand at a revision.
#[derive(Debug)]
pub struct Page {
    /// Which one. Of two there is no telling which is the newer.
    pub revision: Uuid,
    /// By the endpoints' ids.
    pub subscriptions: Vec<Arc<Subscription>>,
}

/// An endpoint that may want an event of its account.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Who.
    pub endpoint_id: EndpointId,
    /// Which types of events.
    pub event_types: EventTypes,
    /// Of which sources; `None` are all of its account.
    pub source_ids: Option<Vec<String>>,
    /// What their full body must say; `None` is anything.
    pub filter: Option<Filter>,
    /// Which body it is told.
    pub format: Format,
    /// Whether what it is owed may be handed over, as long as its gate holds nothing back: what a disabled one is owed is
    /// held, and under limits or an order it is for a lease to decide.
    pub may_be_handed_over: bool,
    /// What its deliveries are ordered by.
    pub ordered_by: Option<OrderedBy>,
    /// Where to, and what signs it.
    pub target: Arc<Target>,
}

impl Subscription {
    fn read(row: Row) -> Result<Self, OpenError> {
        let (id, names, source_ids, filter, format, may_be_handed_over, ordered_by, target) = row;
        Ok(Self {
            endpoint_id: id.parse()?,
            event_types: EventTypes::from_names(names)?,
            source_ids,
            filter: filter.and_then(|filter| readable(&id, &filter)),
            format: format.parse()?,
            may_be_handed_over,
            ordered_by: ordered_by.map(|name| name.parse()).transpose()?,
            target: Arc::new(target),
        })
    }
}

/// A filter of a later version, or of somebody else's hand, is no reason to stop the account's events: what cannot be read is
/// wanted.
fn readable(endpoint: &str, filter: &str) -> Option<Filter> {
    let read = filter.parse::<Filter>();
    let warn =
        |error: &_| warn!(endpoint.id = endpoint, "{endpoint} is told everything: its filter cannot be read: {error}");
    read.inspect_err(warn).ok()
}

/// The pages of these accounts as they stand in this statement's snapshot: the one that is known, where it stands so still,
/// and else a new one. An account that is not there has none.
///
/// # Errors
/// As any query, or when a row holds what latchhook would not have written.
pub async fn pages(
    conn: &AsyncPgConnection,
    known: &BTreeMap<&str, Option<Arc<Page>>>,
) -> Result<HashMap<String, Arc<Page>>, OpenError> {
    let statement = Pages {
        accounts: known.keys().copied().collect(),
        known: known.values().map(|page| page.as_ref().map(|page| page.revision)).collect(),
        lifetime: std::marker::PhantomData,
    };
    let rows: Vec<(String, Uuid, Option<Row>)> = statement.load(&mut &*conn).await?;
    let (mut pages, mut read) = (HashMap::new(), HashMap::new());
    for (account, revision, endpoint) in rows {
        let known = known.get(account.as_str()).and_then(Option::as_ref);
        if let Some(page) = known.filter(|page| page.revision == revision) {
            pages.insert(account, page.clone());
            continue;
        }
        let page = read.entry(account).or_insert_with(|| Page { revision, subscriptions: Vec::new() });
        page.subscriptions.extend(endpoint.map(Subscription::read).transpose()?.map(Arc::new));
    }
    pages.extend(read.into_iter().map(|(account, mut page)| {
        page.subscriptions.sort_unstable_by(|one, other| one.endpoint_id.cmp(&other.endpoint_id));
        (account, Arc::new(page))
    }));
    Ok(pages)
}
