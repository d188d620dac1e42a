//! What can only be kept: alone, as what it is, and for a replay to try again.

use bytes::Bytes;
use database::quarantine::{self, Wanted};
use tests::{Pipeline, a_text, raw_event};
use vocabulary::{Job, JobEntry, RawEvent, Stamp};

/// Three raw events in one job, of which the second has a header that Postgres could not keep.
fn a_job_with_a_nul() -> (Job, RawEvent) {
    let mut job = Job::of(["wamid.1", "wamid.2", "wamid.3"].map(|key| raw_event("wa", a_text(key, "hello"))));
    job.entries[1].raw_event.headers = vec![("x-id".into(), "\0".into()), ("x-kind".into(), "caf\u{e9}".into())];
    let odd = job.entries[1].raw_event.clone();
    (job, odd)
}

async fn kept(pipeline: &Pipeline) -> Vec<(Stamp, JobEntry)> {
    let conn = pipeline.database.connection().await.unwrap();
    let mut kept = Vec::new();
    for row in quarantine::list(&conn, &Wanted::default()).await.unwrap() {
        let (_, raw_event) = quarantine::whole(&conn, &row).await.unwrap();
        kept.push((row.as_replay().stamp, JobEntry { raw_event, replay: Some(row.as_replay()) }));
    }
    kept
}

async fn replay(pipeline: &Pipeline, entry: JobEntry) {
    pipeline.inbound.replay(entry).await.unwrap();
    pipeline.worker.work(vec![pipeline.take().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_event_that_cannot_be_kept_is_quarantined_alone_as_its_sources_own() {
    let pipeline = Pipeline::new().await;
    let (job, odd) = a_job_with_a_nul();
    let stamps = pipeline.inbound.enqueue(&[job]).await.unwrap();

    pipeline.worker.work(vec![pipeline.take().await]).await;

    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.3"]);
    assert_eq!(pipeline.quarantined().await, [(-1, "cannot be kept".to_owned())]);
    let (stamp, JobEntry { raw_event, .. }) = kept(&pipeline).await.remove(0);
    assert_eq!((&stamp, pipeline.receipt(&stamp).await), (&stamps[1], Some((1, 0, 1, true))));
    assert_eq!((&raw_event.source_id, &raw_event.body), (&odd.source_id, &odd.body));
    assert_eq!(raw_event.received_at.timestamp_micros(), odd.received_at.timestamp_micros());
    assert_eq!(raw_event.headers, odd.headers[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_takes_what_could_be_kept_of_a_raw_event() {
    let pipeline = Pipeline::new().await;
    let stamps = pipeline.inbound.enqueue(&[a_job_with_a_nul().0]).await.unwrap();
    pipeline.worker.work(vec![pipeline.take().await]).await;

    replay(&pipeline, kept(&pipeline).await.remove(0).1).await;

    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.3", "wamid.2"]);
    assert_eq!((pipeline.quarantined().await, pipeline.receipt(&stamps[1]).await), (vec![], Some((1, 1, 0, true))));
}

/// The claim of another worker holds one of them up: what is written anew then is not what came.
#[tokio::test(flavor = "multi_thread")]
async fn a_raw_event_that_cannot_be_kept_is_still_that_after_its_job_was_put_off() {
    let pipeline = Pipeline::new().await;
    pipeline.inbound.enqueue(&[a_job_with_a_nul().0]).await.unwrap();
    pipeline.execute("BEGIN; SELECT * FROM source_sequences FOR UPDATE; LOCK quarantine").await;
    pipeline.worker.work(vec![pipeline.take().await]).await;
    pipeline.execute("ROLLBACK").await;

    pipeline.worker.work(vec![pipeline.take().await]).await;

    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.3"]);
    assert_eq!(pipeline.quarantined().await, [(-1, "cannot be kept".to_owned())]);
}

/// What a later version can read, which stands here for it, is what these bytes are told to be once they are in quarantine.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_undecodable_job_carried_is_read_again_when_it_is_replayed() {
    let pipeline = Pipeline::new().await;
    let job = Job::of(["wamid.1", "wamid.2"].map(|key| raw_event("wa", a_text(key, "hello"))));
    let stamps = pipeline.inbound.enqueue(std::slice::from_ref(&job)).await.unwrap();
    let mut held = pipeline.take().await;
    let mut newer = job.encode();
    newer[1] = 9;
    held.payload = newer.into();
    pipeline.worker.work(vec![held]).await;

    let mut entries = kept(&pipeline).await;
    let still_unread = entries[1].1.clone();
    replay(&pipeline, still_unread).await;
    let before = pipeline.quarantined().await;
    for (_, entry) in &mut entries {
        entry.raw_event.body = Bytes::from(job.encode());
        replay(&pipeline, entry.clone()).await;
    }

    assert_eq!(before, [(-1, "undecodable job".to_owned()), (-1, "undecodable job".to_owned())]);
    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.2"]);
    assert_eq!(pipeline.quarantined().await, []);
    for stamp in &stamps {
        assert_eq!(pipeline.receipt(stamp).await, Some((1, 1, 0, true)));
    }
}

/// Whoever writes past the script that gives the numbers may have put more into a job than its name says.
#[tokio::test(flavor = "multi_thread")]
async fn a_raw_event_beyond_what_its_jobs_name_says_takes_no_number() {
    let pipeline = Pipeline::new().await;
    let mut held = pipeline.enqueue(a_text("wamid.1", "hello")).await;
    let bodies = ["wamid.1", "wamid.2"].map(|key| raw_event("wa", a_text(key, "hello")));
    held.payload = Job::of(bodies).encode().into();
    let (first, foreign) = (held.first.clone().unwrap(), held.id.as_incarnation());

    pipeline.worker.work(vec![held]).await;

    let (next, own) = (Stamp { number: 2, ..first.clone() }, Stamp { incarnation: foreign, number: 2 });
    let receipts = [pipeline.receipt(&first).await, pipeline.receipt(&next).await, pipeline.receipt(&own).await];
    assert_eq!(receipts, [Some((1, 1, 0, true)), None, Some((1, 1, 0, true))]);
    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.2"]);
}
