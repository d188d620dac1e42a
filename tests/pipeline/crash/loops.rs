//! A job that kills every process that opens it, and one over which every process panics.

use futures::future::join_all;
use tests::{a_text, raw_event};
use vocabulary::Job;

use super::scene::{Scene, texts, until};

/// Twice it takes its neighbours with it, twice it dies alone; two more for bad luck.
const PROCESSES: usize = 6;

/// A raw event of the source `poison` among two innocent ones, in one job, as a busy producer groups them. Gives what it
/// says, and the keys of its mates.
async fn receive_poison(scene: &Scene) -> (String, Vec<String>) {
    scene.pipeline.add_source("acme", "poison").await;
    let poison = a_text("wamid.poison", "whoever works on this dies");
    let (mates, keys) = texts("mate", 2);
    let [before, after] = mates.try_into().unwrap();
    let job = Job::of([raw_event("wa", before), raw_event("poison", poison.clone()), raw_event("wa", after)]);
    scene.pipeline.inbound.enqueue(&[job]).await.unwrap();
    (poison, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_process_ends_in_quarantine_alone_and_its_replay_is_recorded_once() {
    let scene = Scene::new().await;
    let (poison, mut keys) = receive_poison(&scene).await;

    let mut deaths = 0;
    for number in 0..PROCESSES {
        let (bodies, late) = texts(&format!("late-{number}"), 5);
        scene.enqueue("wa", bodies).await;
        keys.extend(late);
        let mut armed = scene.start_armed("worker", "worker-opens-poison").await;
        while armed.ended().is_none() && !scene.queue_is_empty().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        deaths += usize::from(armed.ended().is_some());
    }

    assert_eq!(deaths, 4);
    scene.recorded_once(keys.clone()).await;
    assert_eq!(scene.pipeline.quarantined().await, [(-1, "crash loop".to_owned())]);
    let kept = scene.pipeline.rows("SELECT source_id, body FROM quarantined_raw_events", &[]).await;
    assert_eq!((kept[0].get(0), kept[0].get(1)), ("poison", poison.as_bytes()));

    let _mended = scene.start("worker,dispatcher").await;
    scene.latchhook("quarantine replay --all").await;
    scene.is_quiet().await;
    keys.push("wamid.poison".to_owned());
    scene.recorded_once(keys).await;
    assert_eq!(scene.pipeline.quarantined().await, []);
    scene.told_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_over_which_its_worker_panics_ends_in_quarantine_alone_and_the_worker_lives() {
    join_all(["worker-opens-poison", "worker-claims-poison"].map(panic_at)).await;
}

async fn panic_at(point: &str) {
    let scene = Scene::new().await;
    let (_, mut keys) = receive_poison(&scene).await;
    let (bodies, others) = texts("other", 10);
    scene.enqueue("wa", bodies).await;
    keys.extend(others);

    let worker = scene.start_panicking("worker", point).await;

    until("the queue is empty", async || scene.queue_is_empty().await).await;
    scene.recorded_once(keys).await;
    assert_eq!(scene.pipeline.quarantined().await, [(-1, "crash loop".to_owned())], "{point}");
    worker.stop().await;
}
