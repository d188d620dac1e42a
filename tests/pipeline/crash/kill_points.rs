//! A process that dies at a named point loses nothing and doubles nothing: another takes over.

use chrono::Utc;
use futures::future::join_all;
use latchhook::kill_points::POINTS;
use ring::hmac;
use serde_json::json;
use tests::{Process, a_text, text, until, whatsapp};
use worker::Sources;

use super::{
    http::{Connection, post},
    scene::{Scene, texts},
};

fn points_of(stage: &str) -> impl Iterator<Item = &'static str> {
    POINTS.into_iter().filter(move |point| point.split('-').next() == Some(stage))
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_worker_is_killed_another_records_everything_once() {
    join_all(points_of("worker").chain(["worker-between-commits"]).map(kill_worker_at)).await;
}

async fn kill_worker_at(point: &str) {
    let scene = Scene::new().await;
    let (mut bodies, mut keys) = texts(point, 20);
    bodies.push(bodies[0].clone());
    // More than one transaction takes.
    let many: Vec<_> = (0..600).map(|number| format!("wamid.many-{number}")).collect();
    bodies.push(whatsapp(&[json!({"messages": many.iter().map(|key| text(key, "hello")).collect::<Vec<_>>()})]));
    keys.extend(many);
    scene.enqueue("wa", bodies).await;

    let mut armed = scene.start_armed("worker", point).await;
    armed.was_killed().await;
    let _other = scene.start("worker,dispatcher").await;

    scene.is_quiet().await;
    scene.recorded_once(keys).await;
    scene.told_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_dispatcher_is_killed_another_tells_the_customer_under_the_same_id() {
    join_all(points_of("dispatcher").map(kill_dispatcher_at)).await;
}

async fn kill_dispatcher_at(point: &str) {
    let scene = Scene::new().await;
    let (bodies, keys) = texts(point, 5);

    let mut armed = scene.start_armed("worker,dispatcher", point).await;
    scene.enqueue("wa", bodies).await;
    armed.was_killed().await;
    let _other = scene.start("worker,dispatcher").await;

    scene.is_quiet().await;
    scene.recorded_once(keys).await;
    // What it had heard when the dispatcher died, it hears once more: nobody had written it down.
    let most = if point == "dispatcher-after-answer" { 2 } else { 1 };
    assert_eq!(scene.told().await.into_iter().max(), Some(most), "{point}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_producer_is_killed_the_sender_comes_again_and_is_recorded_once() {
    join_all(points_of("producer").map(kill_producer_at)).await;
}

async fn kill_producer_at(point: &str) {
    let scene = Scene::new().await;
    let pipeline = &scene.pipeline;
    let sources = Sources::new(pipeline.database.clone(), pipeline.master.clone(), &pipeline.redis);
    sources.refresh(Utc::now()).await.unwrap();
    let body = a_text("wamid.1", "hello");

    let mut armed = scene.start_armed("producer", point).await;
    assert_eq!(send(&armed, &body).await, None, "it answered before it died");
    armed.was_killed().await;
    let other = scene.start("producer,worker,dispatcher").await;
    assert_eq!(send(&other, &body).await, Some(200));

    scene.is_quiet().await;
    scene.recorded_once(["wamid.1".to_owned()]).await;
    scene.told_once().await;
}

/// Posts a body as Meta would, again while it is told to come later: a producer that has just started knows no source.
/// Gives the status, or nothing where the connection broke before one came.
async fn send(process: &Process, body: &str) -> Option<u16> {
    let mut answer = Some(503);
    until("it takes raw events", async || {
        answer = post_signed(process, body).await;
        answer != Some(503)
    })
    .await;
    answer
}

async fn post_signed(process: &Process, body: &str) -> Option<u16> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), body.as_bytes());
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = post("/hooks/wa", &[("x-hub-signature-256", &format!("sha256={digits}"))], body.as_bytes());
    let mut connection = Connection::open(process.address()).await;
    connection.send(&request).await;
    connection.receive().await.map(|response| response.status)
}
