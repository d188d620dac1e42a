//! Who wants to hear of an event: by its source and its type.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use database::{
    AsyncPgConnection, QueryError, QueryResult,
    endpoints::{self, Subscription},
};

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

    /// Those who want an event of this source and type.
    pub(crate) fn wanting(&self, source: &str, event_type: &str) -> Vec<Arc<Subscription>> {
        let all = self.by_source.get(source).into_iter().flatten();
        all.filter(|to| to.event_types.want(event_type)).cloned().collect()
    }
}
