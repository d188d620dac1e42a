//! What came in at a door that does not know how much its source takes: the script in Redis, an app that embeds the producer.

use database::receipts::Receipt;
use tests::{Pipeline, a_text};
use vocabulary::{Job, JobEntry, Replay};

/// From here on the source `wa` takes so many bytes.
async fn limit(pipeline: &Pipeline, bytes: usize) {
    let change = format!("UPDATE sources SET body_limit = {bytes}, revision = revision + 1000 WHERE id = 'wa'");
    pipeline.execute(&change).await;
}

/// A request with one message that is so many bytes long.
fn of_length(wamid: &str, bytes: usize) -> String {
    let padding = bytes - a_text(wamid, "").len();
    a_text(wamid, &"x".repeat(padding))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_larger_than_its_source_takes_is_kept_whole_and_its_mates_are_recorded() {
    let pipeline = Pipeline::new().await;
    limit(&pipeline, 2048).await;
    let bodies =
        [("wamid.1", 2048), ("wamid.2", 2049), ("wamid.3", 1024)].map(|(wamid, bytes)| of_length(wamid, bytes));
    let job = Job::of(bodies.clone().map(|body| tests::raw_event("wa", body)));
    let stamps = pipeline.inbound.enqueue(&[job]).await.unwrap();

    pipeline.worker.work(vec![pipeline.take().await]).await;

    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.3"]);
    assert_eq!(pipeline.quarantined().await, [(-1, "too large".to_owned())]);
    assert_eq!(pipeline.receipt(&stamps[1]).await, Some((1, 0, 1, true)));
    let kept = pipeline.rows("SELECT detail, raw FROM quarantine", &[]).await;
    assert_eq!(kept[0].get::<_, &[u8]>(1), bodies[1].as_bytes());
    let why = "source wa: the body has 2049 bytes, of 2048 that this source takes (its --max-body): replay it to have it taken \
               all the same";
    assert_eq!(kept[0].get::<_, &str>(0), why);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_larger_than_its_source_takes_is_recorded_on_a_persons_word() {
    let pipeline = Pipeline::new().await;
    limit(&pipeline, 1024).await;
    let body = of_length("wamid.1", 1025);
    let stamp = pipeline.receive(body.clone()).await;
    assert_eq!(pipeline.quarantined().await, [(-1, "too large".to_owned())]);

    let replay = Some(Replay { stamp: stamp.clone(), item: None });
    pipeline.inbound.replay(JobEntry { raw_event: tests::raw_event("wa", body), replay }).await.unwrap();
    pipeline.worker.work(vec![pipeline.take().await]).await;

    assert_eq!((pipeline.keys().await, pipeline.quarantined().await), (vec!["wamid.1".to_owned()], vec![]));
    assert_eq!(pipeline.receipt(&stamp).await, Some((1, 1, 0, true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_of_it_under_a_larger_limit_still_counts() {
    let pipeline = Pipeline::new().await;
    let held = pipeline.enqueue(of_length("wamid.2", 1025)).await;
    let stamp = held.first.clone().unwrap();
    let begun = Receipt { stamp: &stamp, source_id: "wa", items: 3, committed: 2, quarantined: 0, ended: false };
    database::receipts::put(&pipeline.database.connection().await.unwrap(), &[begun]).await.unwrap();

    limit(&pipeline, 1024).await;
    pipeline.worker.work(vec![held]).await;

    assert_eq!(pipeline.quarantined().await, [(-1, "too large".to_owned())]);
    assert_eq!(pipeline.receipt(&stamp).await, Some((3, 2, 1, true)));
}
