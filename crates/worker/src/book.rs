//! The book: who may want the events of which account, kept from one transaction to the next.
//!
//! A page for each account that was met lately, and shared by all transactions of a worker. It saves reading and parsing what
//! did not change; what is true is asked of Postgres each time, by the page's revision, so a transaction uses endpoints
//! exactly as they stand in it. What is kept was committed by others, so it may stay though this transaction fails.
//!
//! Two generations are kept. What is asked for goes into the younger one; once that is full it becomes the older one, and
//! what was older, and has not been asked for since, is forgotten.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use database::{
    AsyncPgConnection, QueryError, QueryResult,
    endpoints::{self, Page},
};

/// Endpoints that are kept, of all accounts; an account counts as one more. An endpoint with a filter and two secrets takes
/// about a kilobyte, so these are some 200 MB, in an installation that has as many; there are few.
const MOST_KEPT: usize = 200_000;

/// Pages, by account. A single account with more endpoints than there is room for is kept all the same: to read it each time
/// would cost more than its memory.
pub(crate) struct Book {
    kept: Mutex<Kept>,
}

struct Kept {
    younger: Generation,
    older: Generation,
    /// Of both together.
    most: usize,
}

#[derive(Default)]
struct Generation {
    pages: HashMap<String, Arc<Page>>,
    weight: usize,
}

impl Default for Book {
    fn default() -> Self {
        Self::of(MOST_KEPT)
    }
}

impl Book {
    fn of(most: usize) -> Self {
        let (younger, older) = Default::default();
        Self { kept: Mutex::new(Kept { younger, older, most }) }
    }

    /// The pages of these accounts as they stand in this transaction.
    pub(crate) async fn read(
        &self,
        conn: &AsyncPgConnection,
        accounts: &BTreeSet<&str>,
    ) -> QueryResult<HashMap<String, Arc<Page>>> {
        let known = self.known(accounts);
        let pages = endpoints::pages(conn, &known).await;
        let pages = pages.map_err(|error| QueryError::DeserializationError(error.into()))?;
        self.keep(&known, &pages);
        Ok(pages)
    }

    fn known<'a>(&self, accounts: &BTreeSet<&'a str>) -> BTreeMap<&'a str, Option<Arc<Page>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.iter().map(|account| (*account, kept.find(account))).collect()
    }

    /// Of two transactions that read at the same time the later to come here need not have the newer page. Then the next one
    /// reads it again.
    fn keep(&self, known: &BTreeMap<&str, Option<Arc<Page>>>, pages: &HashMap<String, Arc<Page>>) {
        let is_known = |account: &String, page: &Arc<Page>| {
            let known = known.get(account.as_str()).and_then(Option::as_ref);
            known.is_some_and(|known| Arc::ptr_eq(known, page))
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (account, page) in pages.iter().filter(|(account, page)| !is_known(account, page)) {
            kept.put(account.clone(), page.clone());
        }
    }
}

impl Kept {
    /// The page of an account, which is younger from now on.
    fn find(&mut self, account: &str) -> Option<Arc<Page>> {
        if let Some(page) = self.younger.pages.get(account) {
            return Some(page.clone());
        }
        let page = self.older.remove(account)?;
        self.put(account.to_owned(), page.clone());
        Some(page)
    }

    fn put(&mut self, account: String, page: Arc<Page>) {
        self.younger.remove(&account);
        self.older.remove(&account);
        if self.younger.weight + weight(&page) > self.most / 2 {
            self.older = mem::take(&mut self.younger);
        }
        self.younger.weight += weight(&page);
        self.younger.pages.insert(account, page);
    }
}

impl Generation {
    fn remove(&mut self, account: &str) -> Option<Arc<Page>> {
        let page = self.pages.remove(account)?;
        self.weight -= weight(&page);
        Some(page)
    }
}

fn weight(page: &Page) -> usize {
    1 + page.subscriptions.len()
}

#[cfg(test)]
mod tests {
    use database::endpoints::Subscription;
    use vocabulary::Format;

    use super::*;

    /// A page of so many endpoints.
    fn page(endpoints: usize) -> Arc<Page> {
        let subscription = Arc::new(Subscription {
            endpoint_id: "bot".parse().unwrap(),
            event_types: "*".parse().unwrap(),
            source_ids: None,
            filter: None,
            format: Format::Full,
            may_be_handed_over: true,
            ordered_by: None,
            target: Arc::default(),
        });
        Arc::new(Page { revision: uuid::Uuid::now_v7(), subscriptions: vec![subscription; endpoints] })
    }

    /// As a transaction that concerns this account alone, and finds this page there. Says whether the book had one.
    fn meet(book: &Book, account: &str, page: &Arc<Page>) -> bool {
        let known = book.known(&[account].into());
        book.keep(&known, &[(account.to_owned(), page.clone())].into());
        known[account].is_some()
    }

    fn weight_of(book: &Book) -> usize {
        let kept = book.kept.lock().unwrap();
        let weigh = |generation: &Generation| generation.pages.values().map(|page| weight(page)).sum::<usize>();
        assert_eq!((kept.younger.weight, kept.older.weight), (weigh(&kept.younger), weigh(&kept.older)));
        kept.younger.weight + kept.older.weight
    }

    #[test]
    fn however_many_accounts_are_met_no_more_endpoints_are_kept_than_there_is_room_for() {
        let (book, page) = (Book::of(100), page(9));

        for n in 0..1000 {
            meet(&book, &format!("a{n}"), &page);
            assert!(weight_of(&book) <= 100);
        }

        assert!(weight_of(&book) >= 50, "and not many fewer");
    }

    #[test]
    fn an_account_that_is_met_again_and_again_is_kept_and_one_that_is_not_is_forgotten() {
        let (book, busy, page) = (Book::of(100), page(9), page(9));
        assert!(!meet(&book, "idle", &page) && !meet(&book, "busy", &busy));

        for n in 0..100 {
            meet(&book, &format!("a{n}"), &page);
            assert!(meet(&book, "busy", &busy));
        }

        assert!(!meet(&book, "idle", &page));
    }

    #[test]
    fn a_page_that_was_read_anew_takes_the_place_of_the_one_before_it() {
        let (book, before, now) = (Book::of(100), page(1), page(2));
        meet(&book, "acme", &before);

        meet(&book, "acme", &now);

        assert!(Arc::ptr_eq(book.known(&["acme"].into())["acme"].as_ref().unwrap(), &now));
        assert_eq!(weight_of(&book), 3);
    }

    #[test]
    fn an_account_with_more_endpoints_than_there_is_room_for_is_kept_until_others_are_met() {
        let (book, large, small) = (Book::of(10), page(1000), page(1));
        meet(&book, "large", &large);
        assert!(meet(&book, "large", &large));

        for account in ["a", "b", "c", "d"] {
            meet(&book, account, &small);
        }

        assert!(weight_of(&book) <= 10 && !meet(&book, "large", &large));
    }
}
