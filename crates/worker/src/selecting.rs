//! Who wants to hear of an event: by its source, its type, and what its body says.
//!
//! A filter is asked here, in the transaction, of the full body that has just been made. The body is read for filters only
//! if an endpoint that wants the event's type has one, and then once for all of them.

use std::{
    cell::LazyCell,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use database::{
    AsyncPgConnection, QueryError, QueryResult,
    endpoints::{self, Subscription},
};
use vocabulary::View;

/// Who may want to hear of the events of some sources.
#[derive(Default)]
pub(crate) struct Subscriptions {
    by_source: HashMap<String, Vec<Arc<Subscription>>>,
}

impl Subscriptions {
    /// As they stand in this transaction.
    pub(crate) async fn read(conn: &AsyncPgConnection, sources: &BTreeSet<&str>) -> QueryResult<Self> {
        let sources: Vec<_> = sources.iter().copied().collect();
        let all = endpoints::subscriptions(conn, &sources).await;
        let mut by_source: HashMap<String, Vec<Arc<Subscription>>> = HashMap::new();
        for subscription in all.map_err(|error| QueryError::DeserializationError(error.into()))? {
            by_source.entry(subscription.source_id.clone()).or_default().push(Arc::new(subscription));
        }
        Ok(Self { by_source })
    }

    /// Those who want an event of this source and type, told by this full body. A body that is no JSON, which nobody here
    /// makes, is wanted: nothing is lost for it.
    pub(crate) fn wanting(&self, source: &str, event_type: &str, body: &[u8]) -> Vec<Arc<Subscription>> {
        let view = LazyCell::new(|| View::of(body));
        let says_what_it_must = |to: &Subscription| match &to.filter {
            Some(filter) => view.as_ref().map_or(true, |view| filter.wants(view)),
            None => true,
        };
        let all = self.by_source.get(source).into_iter().flatten();
        all.filter(|to| to.event_types.want(event_type) && says_what_it_must(to)).cloned().collect()
    }
}
