//! Nothing is missed, in whichever order workers commit, and whatever their clocks say.

use std::time::Duration;

use chrono::Utc;
use database::{AsyncPgConnection, bodies, deliveries, events, sequences};
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use serde_json::json;
use tests::{Pipeline, a_text};
use uuid::{NoContext, Timestamp, Uuid};
use vocabulary::{EndpointId, Format, Incarnation, Key, KeyHash, SourceId, Stamp, WebhookId};

use crate::setting::Setting;

/// A worker that is in its transaction; without the deadlines of a stage's session.
async fn begin(pipeline: &Pipeline) -> AsyncPgConnection {
    let mut connection = AsyncPgConnection::establish(&pipeline.test_database.url).await.unwrap();
    connection.batch_execute("BEGIN").await.unwrap();
    connection
}

fn source(id: &str) -> SourceId {
    id.parse().unwrap()
}

/// Writes an event as a worker does whose clock says that it is `ago` earlier: owed to `bot`, and not committed yet.
async fn write(connection: &AsyncPgConnection, source: &SourceId, key: &str, ago: Duration) {
    let key = Key::new(key.to_owned()).unwrap();
    let (endpoint, made_at): (EndpointId, _) = ("bot".parse().unwrap(), Utc::now() - ago);
    let seconds = u64::try_from(made_at.timestamp()).unwrap();
    let id = Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, made_at.timestamp_subsec_nanos()));
    let held = sequences::hold(connection, &[source.as_str()].into()).await.unwrap();
    let sequence = held.last[source.as_str()] + 1;
    sequences::advance(connection, &[(source.as_str(), sequence)].into()).await.unwrap();
    let event = events::NewEvent {
        id,
        key_hash: KeyHash::of(source, &key),
        source_id: source.as_str(),
        key: key.as_str(),
        kind: "text",
        stamp: &Stamp { incarnation: Incarnation::new("i"), number: 1 },
        occurred_at: None,
        received_at: made_at,
        sequence,
        event_type: Some("message_created"),
        deliveries_owed: 1,
    };
    events::insert(connection, &mut [event]).await.unwrap();
    let body = json!({"type": "message_created", "data": {"key": key.as_str()}}).to_string();
    bodies::insert(connection, &[(id, Format::Full, body.into())]).await.unwrap();
    let webhook_id = WebhookId::of(source, &key, &endpoint);
    let owed = deliveries::NewDelivery {
        event_id: id,
        endpoint_id: endpoint,
        webhook_id,
        format: Format::Full,
        lease: None,
        lane: None,
        sequence,
    };
    deliveries::owe(connection, &[owed], Duration::ZERO).await.unwrap();
}

async fn commit(mut connection: AsyncPgConnection) {
    connection.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_first_and_commits_last_is_not_missed() {
    let setting = Setting::new().await;
    setting.pipeline.add_source("acme", "wb").await;
    let mut stream = setting.stream("bot").await;
    let (first, second) = (begin(&setting.pipeline).await, begin(&setting.pipeline).await);
    write(&first, &source("wa"), "first", Duration::ZERO).await;
    write(&second, &source("wb"), "second", Duration::ZERO).await;

    commit(second).await;
    let sooner = stream.keys(1).await;
    commit(first).await;
    let later = stream.keys(1).await;

    assert_eq!((sooner, later), (vec!["second".to_owned()], vec!["first".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_commits_whose_clock_is_behind_is_not_missed() {
    let setting = Setting::new().await;
    let mut stream = setting.stream("bot").await;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);

    for (key, ago) in
        [("now", minutes(0)), ("seconds", Duration::from_secs(20)), ("long", minutes(55)), ("again", minutes(0))]
    {
        let worker = begin(&setting.pipeline).await;
        write(&worker, &source("wa"), key, ago).await;
        commit(worker).await;
    }

    assert_eq!(stream.keys(4).await, ["now", "seconds", "long", "again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_found_within_an_hour_is_let_go_and_what_follows_is_streamed() {
    let setting = Setting::new().await;
    let mut stream = setting.stream("bot").await;

    for (key, hours) in [("lost", 2), ("found", 0)] {
        let worker = begin(&setting.pipeline).await;
        write(&worker, &source("wa"), key, Duration::from_secs(3600 * hours)).await;
        commit(worker).await;
    }

    assert_eq!(stream.keys(1).await, ["found"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_streamed_whole_and_in_the_order_of_commit() {
    let setting = Setting::new().await;
    let mut stream = setting.stream("bot").await;
    let keys: Vec<_> = (0..1200).map(|number| format!("key-{number}")).collect();
    let worker = begin(&setting.pipeline).await;
    for key in &keys {
        write(&worker, &source("wa"), key, Duration::ZERO).await;
    }

    commit(worker).await;

    assert_eq!(stream.keys(1200).await, keys);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_had_no_event_when_the_stream_began_is_streamed_from_its_first() {
    let setting = Setting::new().await;
    let mut stream = setting.stream("bot").await;
    setting.pipeline.add_source("acme", "young").await;

    let held = setting.pipeline.enqueue_from("young", a_text("wamid.first", "hello")).await;
    setting.pipeline.worker.work(vec![held]).await;

    assert_eq!(stream.keys(1).await, ["wamid.first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_latchhook_itself_tells_the_account_is_streamed_too() {
    let setting = Setting::new().await;
    let mut stream = setting.stream("bot").await;
    let dispatcher = begin(&setting.pipeline).await;

    let notices = SourceId::of_notices(&"acme".parse().unwrap());
    write(&dispatcher, &notices, "notice", Duration::ZERO).await;
    commit(dispatcher).await;

    assert_eq!(stream.keys(1).await, ["notice"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_would_not_give_at_first_is_asked_for_again() {
    let setting = Setting::lively().await;
    let mut stream = setting.stream("bot").await;

    for table in ["source_sequences", "deliveries", "bodies"] {
        let mut worker = begin(&setting.pipeline).await;
        write(&worker, &source("wa"), table, Duration::ZERO).await;
        worker.batch_execute(&format!("ALTER TABLE {table} RENAME TO away")).await.unwrap();
        commit(worker).await;
        stream.looks_in_vain().await;
        setting.pipeline.execute(&format!("ALTER TABLE away RENAME TO {table}")).await;

        assert_eq!(stream.keys(1).await, [table]);
    }
}
