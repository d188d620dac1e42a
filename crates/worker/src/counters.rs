//! What a worker has done since it started.

use vocabulary::Counter;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What a worker has done since it started; each only grows.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        impl Counters {
            /// All of them by name, for a metrics page.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get())),*]
            }
        }
    };
}

counters! {
    /// Jobs taken from the queue.
    jobs,
    /// Raw events in them.
    raw_events,
    /// Items that became new rows of the ledger.
    committed,
    /// Duplicates that the claim saved the work of: held as done, and the ledger agreed; or beside their twin in a group.
    duplicates_by_claim,
    /// Duplicates that reached the ledger, and were stopped there.
    duplicates_by_ledger,
    /// Items that an earlier run of the same raw event had committed already.
    repeated,
    /// Items put into quarantine.
    quarantined,
    /// Items whose claim another worker held, put off.
    deferred,
    /// Claims that Redis did not answer in time; the ledger decided alone.
    claims_unanswered,
    /// `done` in Redis for a key that the ledger does not have: Postgres lost a commit, and the item was worked again.
    claims_false_done,
    /// Releases that were refused because another run had taken over.
    claims_refused,
    /// Groups of jobs that were worked together.
    groups,
    /// Transactions that have committed.
    transactions,
    /// Events that an app's handler has refused, or twice did not end with in time.
    handler_refused,
    /// Events that an app's handler was not ready for, or did not end with in time: they come later.
    handler_later,
    /// Transactions that failed because Postgres was away or busy; their items were tried again.
    transactions_failed,
    /// Transactions that were made again with a look-up of every key and message, because what was taken to be new was there:
    /// Redis had forgotten a claim, most likely for its age.
    transactions_again,
}
