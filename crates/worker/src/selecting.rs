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
    AsyncPgConnection, QueryResult,
    endpoints::{Page, Subscription},
    gates::{self, Gated},
};
use futures::try_join;
use vocabulary::View;

use crate::{book::Book, unpack::RawWork};

/// Who may want to hear of the events of some accounts.
#[derive(Default)]
pub(crate) struct Subscriptions {
    by_account: HashMap<String, Arc<Page>>,
    /// The endpoints whose gate holds something back.
    gated: HashMap<String, Gated>,
}

impl Subscriptions {
    /// As they stand in this transaction.
    pub(crate) async fn read(conn: &AsyncPgConnection, book: &Book, accounts: &BTreeSet<&str>) -> QueryResult<Self> {
        let (by_account, gated) = try_join!(book.read(conn, accounts), gates::gated(conn, accounts))?;
        Ok(Self { by_account, gated })
    }

    /// Those who want an event of this type, of a source of this account, told by this full body. A body that is no JSON,
    /// which nobody here makes, is wanted: nothing is lost for it.
    pub(crate) fn wanting(&self, raw: &RawWork, event_type: &str, body: &[u8]) -> Vec<Arc<Subscription>> {
        let source = raw.raw_event.source_id.as_str();
        let hears_of = |to: &Subscription| to.source_ids.as_ref().is_none_or(|ids| ids.iter().any(|id| id == source));
        let view = LazyCell::new(|| View::of(body));
        let says_what_it_must = |to: &Subscription| match &to.filter {
            Some(filter) => view.as_ref().map_or(true, |view| filter.wants(view)),
            None => true,
        };
        let all = self.by_account.get(raw.account_id()).into_iter().flat_map(|page| &page.subscriptions);
        all.filter(|to| to.event_types.want(event_type) && hears_of(to) && says_what_it_must(to)).cloned().collect()
    }

    /// Whether what an endpoint is owed may be handed over: where a gate holds something back it is for a lease to decide.
    pub(crate) fn may_be_handed_over(&self, to: &Subscription) -> bool {
        to.may_be_handed_over && !self.gated.contains_key(to.endpoint_id.as_str())
    }

    /// Whether an endpoint is left alone just now: a dispatcher that looked for what it is owed would find nothing.
    pub(crate) fn rests(&self, to: &Subscription) -> bool {
        self.gated.get(to.endpoint_id.as_str()) == Some(&Gated::Resting)
    }
}
