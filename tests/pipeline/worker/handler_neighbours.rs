//! What a source with a slow handler costs the others. Counted in calls and transactions, for times are the machine's.

use std::{
    collections::BTreeMap,
    sync::{Arc, Barrier, Mutex},
};

use database::AsyncPgConnection;
use diesel_async::SimpleAsyncConnection;
use futures::{FutureExt, future::BoxFuture};
use serde_json::json;
use tests::{Pipeline, a_text, text, whatsapp};
use worker::{HandledEvent, Handler, HandlerError, Settings, Worker};

/// Is slow for events of `wa`, and counts its calls by key.
struct Uneven {
    calls: Mutex<BTreeMap<String, usize>>,
    /// Met twice in each call for `wamid.held`: when it has begun, and before it ends.
    held: Barrier,
}

impl Handler for Uneven {
    fn handle<'a>(
        &'a self,
        mut conn: &'a AsyncPgConnection,
        event: &'a HandledEvent<'a>,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        async move {
            *self.calls.lock().unwrap().entry(event.key.as_str().to_owned()).or_default() += 1;
            if event.key.as_str() == "wamid.held" {
                // Not awaited, so that no deadline ends it.
                tokio::task::block_in_place(|| {
                    self.held.wait();
                    self.held.wait();
                });
            } else if event.source_id.as_str() == "wa" {
                conn.batch_execute("SELECT pg_sleep(0.2)").await?;
            }
            Ok(())
        }
        .boxed()
    }
}

impl Uneven {
    fn calls(&self, prefix: &str) -> Vec<usize> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, calls)| *calls).collect()
    }
}

/// Two sources, and a worker with that handler.
async fn uneven(settings: Settings) -> (Pipeline, Arc<Worker>, Arc<Uneven>) {
    let pipeline = Pipeline::new().await;
    pipeline.add_source("acme", "wb").await;
    let handler = Arc::new(Uneven { calls: Mutex::default(), held: Barrier::new(2) });
    let worker = pipeline.another_worker_with(Settings { handler: Some(handler.clone()), ..settings });
    (pipeline, Arc::new(worker), handler)
}

fn texts(keys: &[String]) -> String {
    let messages: Vec<_> = keys.iter().map(|key| text(key, "hello")).collect();
    whatsapp(&[json!({ "messages": messages })])
}

/// The events of two sources, one after the other.
async fn both(pipeline: &Pipeline, round: usize, slow: usize, fast: usize) -> Vec<queue::Held> {
    let keys = |source: &str, count| (0..count).map(|n| format!("wamid.{source}.{round}.{n}")).collect::<Vec<_>>();
    let of_slow = pipeline.enqueue_from("wa", texts(&keys("wa", slow))).await;
    let of_fast = pipeline.enqueue_from("wb", texts(&keys("wb", fast))).await;
    vec![of_slow, of_fast]
}

/// The slow ones come first in the queue. Until it is known that their source is slow they take the budget of the first
/// transaction, and the others are left; from then on nobody of the others is called a second time, or later than a slow one.
#[tokio::test(flavor = "multi_thread")]
async fn neighbours_of_a_slow_source_pay_for_it_once() {
    let (pipeline, worker, handler) = uneven(Settings::default()).await;

    worker.work(both(&pipeline, 1, 8, 40).await).await;
    let first = pipeline.rows("SELECT source_id, xmin::text FROM events ORDER BY xmin::text::bigint", &[]).await;
    worker.work(both(&pipeline, 2, 8, 40).await).await;

    assert_eq!(handler.calls("wamid.wb"), [1; 80]);
    let of_slow = handler.calls("wamid.wa");
    assert!(of_slow[..8].iter().sum::<usize>() <= 12 && of_slow[8..] == [1; 8], "{of_slow:?}");
    let order: Vec<String> = first.iter().map(|row| row.get(0)).collect();
    assert!(order.is_sorted_by(|one, next| one >= next), "the fast ones are committed first: {order:?}");
    let of_fast = "SELECT count(DISTINCT xmin::text) FROM events WHERE source_id = 'wb'";
    assert_eq!(pipeline.number(of_fast).await, 2, "and in one transaction each time");
    let mixed =
        "SELECT count(*) FROM (SELECT xmin::text FROM events GROUP BY 1 HAVING count(DISTINCT source_id) > 1) AS m";
    assert_eq!(pipeline.number(mixed).await, 0);
}

/// Two groups at a time, as of two lanes. The first is in a call of a slow source for as long as the test wants.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn slow_sources_have_one_lane_and_the_other_is_the_others() {
    let (pipeline, worker, handler) = uneven(Settings::default()).await;
    worker.work(vec![pipeline.enqueue(a_text("wamid.wa.0", "hello")).await]).await;
    let held = pipeline.enqueue(a_text("wamid.held", "hello")).await;
    let group = both(&pipeline, 1, 2, 2).await;
    let in_the_slow_lane = tokio::spawn({
        let worker = worker.clone();
        async move { worker.work(vec![held]).await }
    });
    tokio::task::block_in_place(|| handler.held.wait());

    worker.work(group).await;
    let meanwhile = (pipeline.keys().await, handler.calls("wamid.wa.1"));
    let failed = worker.counters().transactions_failed.get();
    tokio::task::block_in_place(|| handler.held.wait());
    in_the_slow_lane.await.unwrap();
    worker.work(vec![pipeline.take().await]).await;

    assert_eq!(meanwhile.0, ["wamid.wa.0", "wamid.wb.1.0", "wamid.wb.1.1"]);
    assert_eq!((meanwhile.1, failed), (vec![], 0), "the slow ones of the other group have not waited: they come later");
    assert_eq!(pipeline.keys().await.len(), 6);
    assert_eq!(handler.calls("wamid.wa.1"), [1, 1]);
}
