//! `kill -9`, with real processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use futures::future::{join, join_all};
use latchhook::kill_points::{FORWARDER_POINTS, VARIABLE};
use rand::Rng;
use tests::{Process, binary, until};

use super::app::{App, numbered, wamid, write};

const KEYS: usize = 8;
const ROWS: usize = 60;
const KILLS: usize = 12;

/// A forwarder with nothing but what it needs: no `DATABASE_URL`, and no master key.
pub(super) async fn start(app: &App, fate: Option<(&str, &str)>) -> Process {
    start_at(app, &app.database.url, fate).await
}

/// Likewise, one that comes to the outbox by this address.
pub(super) async fn start_at(app: &App, outbox: &str, fate: Option<(&str, &str)>) -> Process {
    let mut command = Command::new(binary());
    command
        .args(["run", "--roles=forwarder", "--listen=127.0.0.1:0"])
        .env_remove("DATABASE_URL")
        .env_remove("LATCHHOOK_MASTER_KEY")
        .env("LATCHHOOK_OUTBOX_URL", outbox)
        .env("REDIS_URL", &app.pipeline.test_redis.url)
        .env("LATCHHOOK_PREFIX", &app.pipeline.test_redis.prefix)
        .envs(fate);
    Process::spawn(command, "listens on").await
}

/// In a session of its own: of each three transactions the last is rolled back. Gives what was committed.
async fn write_until(app: &App, key: usize, is_enough: impl Fn(usize) -> bool) -> Vec<String> {
    let sql = app.session().await;
    let mut committed = Vec::new();
    for number in (0..).take_while(|number| !is_enough(*number)) {
        sql.batch_execute("BEGIN").await.unwrap();
        write(&sql, Some(&key.to_string()), &numbered(key, number)).await;
        if number % 3 == 2 {
            sql.batch_execute("ROLLBACK").await.unwrap();
        } else {
            sql.batch_execute("COMMIT").await.unwrap();
            committed.push(wamid(key, number));
        }
    }
    committed
}

/// One writer a key.
async fn write_keys(app: &App, is_enough: impl Fn(usize) -> bool + Copy) -> BTreeSet<String> {
    let written = join_all((0..KEYS).map(|key| write_until(app, key, is_enough))).await;
    written.into_iter().flatten().collect()
}

/// The keys of the queue's events by the keys of the outbox, each when it comes for the first time.
async fn first_comings(app: &App) -> BTreeMap<String, Vec<String>> {
    let (mut seen, mut by_key) = (BTreeSet::new(), BTreeMap::<_, Vec<_>>::new());
    for body in app.queued_bodies().await {
        let start = body.find("wamid.").unwrap();
        let wamid = body[start..].split('"').next().unwrap().to_owned();
        if seen.insert(wamid.clone()) {
            by_key.entry(wamid.split('-').next().unwrap().to_owned()).or_default().push(wamid);
        }
    }
    by_key
}

/// The rows of each key came for the first time in the order of their transactions, and nothing else came.
async fn came_in_order(app: &App, committed: &BTreeSet<String>) {
    let by_key = first_comings(app).await;
    assert!(by_key.values().all(|wamids| wamids.is_sorted()), "{by_key:?}");
    assert_eq!(by_key.into_values().flatten().collect::<BTreeSet<_>>(), *committed);
}

/// With a worker at work at last: every event is in the ledger, once.
async fn recorded_once(app: &App, committed: &BTreeSet<String>) {
    let _worker = Process::start(&app.pipeline, "worker", None, &[]).await;
    until("the queue is empty", async || app.pipeline.inbound.depth().await.unwrap().all() == 0).await;
    let keys = app.pipeline.keys().await;
    assert_eq!((keys.len(), &BTreeSet::from_iter(keys)), (committed.len(), committed));
    assert_eq!(app.pipeline.quarantined().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarders_that_are_killed_while_an_app_writes_lose_nothing_and_invert_no_key() {
    let app = App::new().await;
    let kills = AtomicUsize::new(0);
    let mut fleet = [start(&app, None).await, start(&app, None).await, start(&app, None).await];

    let writing = write_keys(&app, |_| kills.load(Relaxed) == KILLS);
    let killing = async {
        while kills.load(Relaxed) < KILLS {
            let heir = start(&app, None).await;
            // What was in its place is dropped, which kills it, wherever it is.
            fleet[rand::rng().random_range(0..3)] = heir;
            kills.fetch_add(1, Relaxed);
        }
    };
    let (committed, ()) = join(writing, killing).await;

    until("all is forwarded", async || app.outbox().await.is_empty()).await;
    drop(fleet);
    came_in_order(&app, &committed).await;
    recorded_once(&app, &committed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_forwarder_is_killed_another_forwards_everything_in_order() {
    join_all(FORWARDER_POINTS.map(kill_at)).await;
}

async fn kill_at(point: &'static str) {
    let app = App::new().await;
    let committed = write_keys(&app, |number| number == ROWS).await;

    let mut armed = start(&app, Some((VARIABLE, point))).await;
    armed.was_killed().await;
    let is_forgotten = app.outbox().await.is_empty();
    let other = start(&app, None).await;
    until("all is forwarded", async || app.outbox().await.is_empty()).await;
    other.stop().await;

    // All of it is one batch.
    let is_enqueued_twice = app.queued().await.len() == 2 * committed.len();
    let between = ["producer-after-enqueue", "forwarder-before-commit"].contains(&point);
    assert_eq!((is_forgotten, is_enqueued_twice), (point == "forwarder-after-commit", between), "{point}");
    came_in_order(&app, &committed).await;
    recorded_once(&app, &committed).await;
}
