//! A process that stands still for longer than all its leases, and then goes on as if nothing had happened.

use tests::until;

use super::scene::{Scene, WAITING, texts};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stood_still_in_its_transaction_doubles_nothing_and_works_on() {
    let scene = Scene::new().await;
    let (bodies, mut keys) = texts("first", 10);
    scene.pipeline.execute("BEGIN; LOCK TABLE messages").await;
    let frozen = scene.start("worker").await;
    scene.enqueue("wa", bodies).await;
    until("it is in its transaction", async || scene.pipeline.number(WAITING).await > 0).await;

    frozen.freeze();
    scene.pipeline.execute("ROLLBACK").await;
    let other = scene.start("worker").await;
    until("another has done its work", async || scene.queue_is_empty().await).await;
    frozen.thaw();
    other.stop().await;
    let (bodies, more) = texts("more", 10);
    scene.enqueue("wa", bodies).await;
    keys.extend(more);
    let _dispatcher = scene.start("dispatcher").await;

    scene.is_quiet().await;
    scene.recorded_once(keys).await;
    scene.told_once().await;
    assert!(frozen.stop().await.contains("taken_for_dead"), "it was away for longer than its lease");
}
