//! What a handler may ask for, and the limits that it is held to. What it says to Postgres is in `handler_says.rs`.

use std::{sync::Arc, time::Duration};

use database::AsyncPgConnection;
use diesel::sql_types::{BigInt, Text, Uuid};
use diesel_async::SimpleAsyncConnection;
use futures::{FutureExt, future::BoxFuture};
use serde_json::json;
use tests::{Pipeline, a_status, a_text, text, whatsapp};
use worker::{HandledEvent, Handler, HandlerError, Settings, Worker};

/// What a handler does with the event `wamid.bad`, after it has noted it as any other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bad {
    /// Says this to Postgres, and does not listen to the answer.
    Says(&'static str),
    /// Says this to Postgres, and gives up when the answer is no.
    Heeds(&'static str),
    /// Says this to Postgres, and does not wait for the answer.
    Forgets(&'static str),
    Panics,
    Later,
}

/// Notes what it is called for in a table `handled`.
pub(super) struct Notes(pub(super) Option<Bad>);

impl Handler for Notes {
    fn handle<'a>(
        &'a self,
        conn: &'a AsyncPgConnection,
        event: &'a HandledEvent<'a>,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        async move {
            note(conn, event).await?;
            match self.0.filter(|_| event.key.as_str() == "wamid.bad") {
                Some(Bad::Says(words)) => {
                    let mut conn = conn;
                    let _deaf = conn.batch_execute(words).await;
                    Ok(())
                }
                Some(Bad::Heeds(words)) => {
                    let mut conn = conn;
                    Ok(conn.batch_execute(words).await?)
                }
                Some(Bad::Forgets(words)) => {
                    let mut conn = conn;
                    let mut saying = Box::pin(conn.batch_execute(words));
                    assert!(futures::poll!(saying.as_mut()).is_pending());
                    Ok(())
                }
                Some(Bad::Panics) => panic!("a handler's panic"),
                Some(Bad::Later) => Err(HandlerError::Later("not yet".to_owned())),
                None => Ok(()),
            }
        }
        .boxed()
    }
}

async fn note(mut conn: &AsyncPgConnection, event: &HandledEvent<'_>) -> Result<(), HandlerError> {
    let note = diesel::sql_query("INSERT INTO handled (event_id, key, sequence, told) VALUES ($1, $2, $3, $4)");
    let told = format!("{} {}", event.event_type, event.message.is_some());
    let note = note.bind::<Uuid, _>(event.id).bind::<Text, _>(event.key.as_str()).bind::<BigInt, _>(event.sequence);
    diesel_async::RunQueryDsl::execute(note.bind::<Text, _>(told), &mut conn).await?;
    Ok(())
}

pub(super) async fn pipeline() -> Pipeline {
    let pipeline = Pipeline::new().await;
    let handled =
        "CREATE TABLE handled (n serial, event_id uuid REFERENCES events (id), key text, sequence bigint, told text)";
    pipeline.execute(handled).await;
    pipeline
}

fn noting(pipeline: &Pipeline, bad: Option<Bad>) -> Worker {
    pipeline.another_worker_with(Settings { handler: Some(Arc::new(Notes(bad))), ..Settings::default() })
}

pub(super) async fn handled(pipeline: &Pipeline) -> Vec<String> {
    let rows = pipeline.rows("SELECT key FROM handled ORDER BY n", &[]).await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Two events, and the bad one between them.
pub(super) fn a_bad_one_between_two() -> String {
    let messages = ["wamid.1", "wamid.bad", "wamid.2"].map(|wamid| text(wamid, "hello"));
    whatsapp(&[json!({ "messages": messages })])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_which_a_handler_is_not_ready_comes_later_and_its_mates_do_not_wait() {
    let pipeline = pipeline().await;
    let held = pipeline.enqueue(a_bad_one_between_two()).await;

    noting(&pipeline, Some(Bad::Later)).work(vec![held]).await;
    let at_first = (pipeline.keys().await, handled(&pipeline).await, pipeline.quarantined().await);
    noting(&pipeline, None).work(vec![pipeline.take().await]).await;

    let mates = || vec!["wamid.1".to_owned(), "wamid.2".to_owned()];
    assert_eq!(at_first, (mates(), mates(), vec![]));
    assert_eq!(handled(&pipeline).await, ["wamid.1", "wamid.2", "wamid.bad"]);
    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.2", "wamid.bad"]);
}

/// The app's table may refer to `events`: `handled` does.
#[tokio::test(flavor = "multi_thread")]
async fn each_new_event_is_handled_once_and_in_the_order_of_its_source() {
    let pipeline = pipeline().await;
    let worker = noting(&pipeline, None);
    let bodies = [a_text("wamid.1", "a"), a_status("wamid.1", "read"), a_text("wamid.1", "a"), a_text("wamid.2", "b")];
    let mut group = Vec::new();
    for body in &bodies {
        group.push(pipeline.enqueue(body.clone()).await);
    }

    worker.work(group).await;
    let again = pipeline.enqueue(bodies[0].clone()).await;
    worker.work(vec![again]).await;

    let rows = pipeline.rows("SELECT sequence, told FROM handled ORDER BY n", &[]).await;
    let rows: Vec<(i64, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let told = ["message_created true", "message_updated true", "message_created true"].map(str::to_owned);
    assert_eq!(rows, (1..=3).zip(told).collect::<Vec<_>>());
    let same = "SELECT count(*) FROM handled h JOIN events e ON e.id = h.event_id AND e.sequence = h.sequence";
    assert_eq!(pipeline.number(same).await, 3);
}

/// Takes a while for each event.
struct Slow;

impl Handler for Slow {
    fn handle<'a>(
        &'a self,
        mut conn: &'a AsyncPgConnection,
        _event: &'a HandledEvent<'a>,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        async move { Ok(conn.batch_execute("SELECT pg_sleep(0.05)").await?) }.boxed()
    }
}

/// Four calls are over the budget of 150 ms, so that no transaction has more than four events, and none waits for its turn
/// longer than for that. (`xmin` is the transaction that wrote a row.)
#[tokio::test(flavor = "multi_thread")]
async fn when_handlers_have_had_their_time_the_rest_is_left_to_the_next_transaction() {
    let pipeline = pipeline().await;
    let handler_budget = Duration::from_millis(150);
    let settings = Settings { handler: Some(Arc::new(Slow)), handler_budget, ..Settings::default() };
    let worker = pipeline.another_worker_with(settings);
    let messages: Vec<_> = (0..20).map(|n| text(&format!("wamid.{n}"), "hello")).collect();
    let held = pipeline.enqueue(whatsapp(&[json!({ "messages": messages })])).await;

    worker.work(vec![held]).await;

    assert_eq!(pipeline.keys().await.len(), 20);
    let largest = "SELECT max(events) FROM (SELECT count(*) AS events FROM events GROUP BY xmin::text) AS written";
    assert!(pipeline.number(largest).await <= 4);
}
