//! The book, while endpoints are changed: what is owed shows which endpoints a transaction has used.

use std::sync::atomic::{AtomicI64, Ordering};

use futures::future::join_all;
use tests::{Pipeline, a_text};
use worker::Worker;

const CHANGES: i64 = 150;

/// One after the other wants everything, and the one before it nothing more: each change in a transaction, so at any moment
/// there is exactly one. `committed` is the last that is.
async fn pass_on(pipeline: &Pipeline, committed: &AtomicI64) {
    for n in 1..=CHANGES {
        let one = format!(
            "BEGIN; \
             UPDATE endpoints SET event_types = '{{nothing}}' WHERE id = 'e{}'; \
             INSERT INTO endpoints (id, account_id, url, secrets, event_types) \
                 VALUES ('e{n}', 'acme', 'https://bot.example/', '{{}}', '{{*}}'); \
             COMMIT",
            n - 1
        );
        pipeline.execute(&one).await;
        committed.store(n, Ordering::SeqCst);
    }
}

/// Works events until all changes are made, and one more. Each key says who wanted it before its transaction began.
async fn keep_working(pipeline: &Pipeline, worker: &Worker, name: usize, committed: &AtomicI64) {
    let mut is_last = false;
    for n in 0.. {
        let wanted_by = committed.load(Ordering::SeqCst);
        worker.work(vec![pipeline.enqueue(a_text(&format!("wamid.{wanted_by}.{name}.{n}"), "hello")).await]).await;
        if std::mem::replace(&mut is_last, wanted_by == CHANGES) {
            return;
        }
    }
}

/// Three processes, two transactions at a time in each, for which their book is one. Each event is told to exactly one: so
/// its endpoints were of one snapshot. That one is not of before the transaction began, and none of a later event is of
/// before an earlier one's.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_changes_meanwhile_each_event_is_owed_to_those_who_want_it_when_it_is_committed() {
    let pipeline = Pipeline::new().await;
    pipeline.execute("UPDATE endpoints SET event_types = '{nothing}' WHERE id = 'bot'").await;
    pipeline.add_endpoint("acme", "e0", "*").await;
    let (committed, workers) = (AtomicI64::new(0), [(); 3].map(|()| pipeline.another_worker()));

    let twice = workers.iter().chain(&workers).enumerate();
    let working = join_all(twice.map(|(name, worker)| keep_working(&pipeline, worker, name, &committed)));
    tokio::join!(working, pass_on(&pipeline, &committed));

    let told = "SELECT v.key, count(*), min(substr(d.endpoint_id, 2)::bigint) AS told, \
                    split_part(v.key, '.', 2)::bigint AS wanted_by \
                FROM events v LEFT JOIN deliveries d ON d.event_id = v.id GROUP BY v.id ORDER BY v.sequence";
    let told: Vec<_> = pipeline.rows(told, &[]).await.iter().map(|row| (row.get(1), row.get(2), row.get(3))).collect();
    assert!(told.iter().all(|(tellings, told, wanted_by): &(i64, i64, i64)| *tellings == 1 && told >= wanted_by));
    assert!(told.is_sorted_by_key(|(_, told, _)| *told));
    assert_eq!(told.last().map(|(_, told, _)| *told), Some(CHANGES));
}
