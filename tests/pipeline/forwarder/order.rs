//! Several forwarders, and the order of a key.

use std::collections::BTreeMap;

use forwarder::Step;
use futures::future::join_all;
use tests::until;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::app::{App, now, write};

const KEYS: usize = 5;
const ROWS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn while_one_forwards_another_takes_nothing() {
    let app = App::new().await;
    app.write(Some("a"), "first").await;
    app.write(Some("a"), "second").await;
    let holder = app.session().await;
    holder.batch_execute("BEGIN; SELECT FROM latchhook_outbox WHERE body = 'first' FOR UPDATE").await.unwrap();
    let (one, other) = (app.forwarder(), app.forwarder());

    let leads = tokio::spawn(async move { one.forward(now()).await });
    app.somebody_waits().await;
    let follows = other.forward(now()).await.unwrap();

    assert_eq!((follows, app.queued_bodies().await), (Step::Following, vec![]));
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(leads.await.unwrap().unwrap(), Step::Forwarded { rows: 2, failed: 0 });
    assert_eq!(app.queued_bodies().await, ["first", "second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_forwarders_none_inverts_a_key_while_an_app_keeps_writing() {
    let app = App::new().await;
    let counters =
        format!("CREATE TABLE counters AS SELECT key, 0 AS n FROM generate_series(0, {KEYS} - 1) AS keys (key)");
    app.sql.batch_execute(&counters).await.unwrap();
    let stop = CancellationToken::new();
    let forwarders = (0..4).map(|_| AbortOnDropHandle::new(tokio::spawn(app.forwarder().run(stop.clone()))));
    let forwarders: Vec<_> = forwarders.collect();

    join_all((0..KEYS).chain(0..KEYS).map(|key| write_all(&app, key))).await;
    until("all is forwarded", async || app.outbox().await.is_empty()).await;
    stop.cancel();
    for forwarder in forwarders {
        forwarder.await.unwrap();
    }

    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for body in app.queued_bodies().await {
        by_key.entry(body[..1].to_owned()).or_default().push(body);
    }
    assert_eq!(by_key.values().map(Vec::len).collect::<Vec<_>>(), [2 * ROWS; KEYS]);
    assert!(by_key.values().all(|bodies| bodies.is_sorted()), "{by_key:?}");
}

/// In a session of its own. Who writes to the same key waits for the counter, and only then puts down what it has counted.
async fn write_all(app: &App, key: usize) {
    let sql = app.session().await;
    for _ in 0..ROWS {
        sql.batch_execute("BEGIN").await.unwrap();
        let count = format!("UPDATE counters SET n = n + 1 WHERE key = {key} RETURNING n");
        let number: i32 = sql.query_one(&count, &[]).await.unwrap().get(0);
        write(&sql, Some(&key.to_string()), &format!("{key} {number:03}")).await;
        sql.batch_execute("COMMIT").await.unwrap();
    }
}
