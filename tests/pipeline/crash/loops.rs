//! A job that kills every process that opens it, and one over which every process panics.

use futures::future::join_all;
use serde_json::json;
use tests::{a_text, raw_event, text, until, whatsapp};
use vocabulary::Job;

use super::scene::{Scene, texts};

/// Twice it takes its neighbours with it, twice it dies alone; two more for bad luck.
const PROCESSES: usize = 6;

/// Receives a raw event of the source `poison` among two innocent ones, in one job, as a busy producer groups them. Gives
/// the keys of its mates.
async fn receive_poison(scene: &Scene, poison: &str) -> Vec<String> {
    scene.pipeline.add_source("acme", "poison").await;
    let (mates, keys) = texts("mate", 2);
    let [before, after] = mates.try_into().unwrap();
    let job = Job::of([raw_event("wa", before), raw_event("poison", poison.to_owned()), raw_event("wa", after)]);
    scene.pipeline.inbound.enqueue(&[job]).await.unwrap();
    keys
}

/// Starts one process after the other, each of which kills itself there, until the queue is empty, while innocent raw events
/// keep coming. Gives how many have died, and the keys of the innocent.
async fn starts_until_quiet(scene: &Scene, kill_at: &str) -> (usize, Vec<String>) {
    let (mut deaths, mut keys) = (0, Vec::new());
    for number in 0..PROCESSES {
        let (bodies, late) = texts(&format!("late-{number}"), 5);
        scene.enqueue("wa", bodies).await;
        keys.extend(late);
        let mut armed = scene.start_armed("worker", kill_at).await;
        until("it has died, or all is done", async || armed.ended().is_some() || scene.queue_is_empty().await).await;
        deaths += usize::from(armed.ended().is_some());
    }
    (deaths, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_process_ends_in_quarantine_alone_and_its_replay_is_recorded_once() {
    let scene = Scene::new().await;
    let poison = a_text("wamid.poison", "whoever opens this dies");
    let mut keys = receive_poison(&scene, &poison).await;

    let (deaths, late) = starts_until_quiet(&scene, "worker-opens-poison").await;

    keys.extend(late);
    assert_eq!(deaths, 4);
    scene.recorded_once(keys.clone()).await;
    assert_eq!(scene.pipeline.quarantined().await, [(-1, "crash loop".to_owned())]);
    let kept = scene.pipeline.rows("SELECT source_id, body FROM quarantined_raw_events", &[]).await;
    assert_eq!((kept[0].get(0), kept[0].get(1)), ("poison", poison.as_bytes()));

    keys.push("wamid.poison".to_owned());
    is_recorded_by_its_replay(&scene, keys).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_had_committed_before_it_killed_its_process_counts_and_counts_once() {
    let scene = Scene::new().await;
    let many: Vec<_> = (0..1200).map(|number| format!("wamid.poison-{number:04}")).collect();
    let messages: Vec<_> = many.iter().map(|key| text(key, "hello")).collect();
    let mut keys = receive_poison(&scene, &whatsapp(&[json!({ "messages": messages })])).await;

    let (deaths, late) = starts_until_quiet(&scene, "worker-between-commits").await;

    keys.extend(late);
    assert_eq!(deaths, 4);
    scene.recorded_once(keys.iter().chain(&many[..500]).cloned()).await;
    assert_eq!(scene.pipeline.quarantined().await, [(-1, "crash loop".to_owned())]);

    keys.extend(many);
    is_recorded_by_its_replay(&scene, keys).await;
}

/// With a worker that is mended.
async fn is_recorded_by_its_replay(scene: &Scene, keys: Vec<String>) {
    let _mended = scene.start("worker,dispatcher").await;
    scene.latchhook("quarantine replay --all").await;
    scene.is_quiet().await;
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
    let mut keys = receive_poison(&scene, &a_text("wamid.poison", "whoever works on this panics")).await;
    let (bodies, others) = texts("other", 10);
    scene.enqueue("wa", bodies).await;
    keys.extend(others);

    let worker = scene.start_panicking("worker", point).await;

    until("the queue is empty", async || scene.queue_is_empty().await).await;
    scene.recorded_once(keys).await;
    assert_eq!(scene.pipeline.quarantined().await, [(-1, "crash loop".to_owned())], "{point}");
    worker.stop().await;
}
