//! A deployment: one process after the other is told to end, and replaced, while work keeps coming.

use std::time::Duration;

use tests::{Process, until};
use tokio_util::sync::CancellationToken;

use super::scene::{Scene, texts};

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_replaced_in_turn_lose_nothing_double_nothing_and_are_never_taken_for_dead() {
    let scene = Scene::new().await;
    // Nobody dies here, so nobody has to be found dead soon; a busy machine may be slow to beat.
    let start = async || Process::start(&scene.pipeline, "worker", None, &[]).await;
    let mut workers = vec![start().await, start().await, start().await];
    let enough = CancellationToken::new();

    let roll = async {
        for _ in 0..3 {
            let recorded = scene.pipeline.number("SELECT count(*) FROM events").await;
            until("they work", async || scene.pipeline.number("SELECT count(*) FROM events").await > recorded).await;
            let said = workers.remove(0).stop().await;
            assert!(!said.contains("queue."), "{said}");
            workers.push(start().await);
        }
        enough.cancel();
    };
    let (keys, ()) = tokio::join!(keep_coming(&scene, &enough), roll);

    until("everything is worked", async || scene.queue_is_empty().await).await;
    scene.recorded_once(keys).await;
    for worker in workers {
        let said = worker.stop().await;
        assert!(!said.contains("queue."), "{said}");
    }
}

/// Raw events, always some more than the workers have taken; gives their keys when it is enough.
async fn keep_coming(scene: &Scene, enough: &CancellationToken) -> Vec<String> {
    let mut keys = Vec::new();
    while !enough.is_cancelled() {
        if scene.pipeline.inbound.depth().await.unwrap().ready < 100 {
            let (bodies, more) = texts(&keys.len().to_string(), 100);
            scene.enqueue("wa", bodies).await;
            keys.extend(more);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    keys
}
