//! An app with a Postgres of its own, its outbox, and what of it has come into the queue.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use database::{Database, sources::NewSource};
use forwarder::{ForwardError, Forwarder, Step};
use queue::Redis;
use serde_json::{Value, json};
use tests::{Pipeline, TestDatabase, a_text, until};
use tokio_postgres::{Client, NoTls};
use vocabulary::{Job, RawEvent};
use worker::Sources;

/// An app, and the latchhook that it writes for.
pub(crate) struct App {
    pub(crate) pipeline: Pipeline,
    pub(crate) database: TestDatabase,
    pub(crate) sql: Client,
}

/// When all steps are made.
pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_771_000_200, 0).unwrap()
}

impl App {
    pub(crate) async fn new() -> Self {
        Self::over(Pipeline::new().await).await
    }

    pub(crate) async fn over(pipeline: Pipeline) -> Self {
        let database = tests::database().await;
        let sql = connect(&database).await;
        sql.batch_execute(database::outbox::DDL).await.unwrap();
        let app = Self { pipeline, database, sql };
        app.publish_sources().await;
        app
    }

    /// What a worker or a dispatcher does every two seconds.
    pub(crate) async fn publish_sources(&self) {
        let Pipeline { database, master, redis, .. } = &self.pipeline;
        Sources::new(database.clone(), master.clone(), redis).refresh(now()).await.unwrap();
    }

    /// Adds a source of this provider, or changes the one of that id, and tells everybody.
    pub(crate) async fn has_source(&self, id: &str, provider: &str, body_limit: Option<u32>, settings: &Value) {
        let source = NewSource {
            id: &id.parse().unwrap(),
            account_id: &"acme".parse().unwrap(),
            name: id,
            provider,
            secrets: &["secret".to_owned().into()],
            verify_token: None,
            body_limit,
            settings: settings.as_object().unwrap(),
        };
        let connection = self.pipeline.database.connection().await.unwrap();
        database::sources::put(&connection, &self.pipeline.master, &source).await.unwrap();
        self.publish_sources().await;
    }

    /// Another session of the app.
    pub(crate) async fn session(&self) -> Client {
        connect(&self.database).await
    }

    pub(crate) fn forwarder(&self) -> Forwarder {
        self.forwarder_to(&self.pipeline.redis)
    }

    pub(crate) fn forwarder_to(&self, redis: &Redis) -> Forwarder {
        Forwarder::new(Database::for_outbox(&self.database.url, 2).unwrap(), redis)
    }

    /// The app's database as somebody sees it who owns nothing there and has the rights that are granted here. It is a role
    /// that every server has, so that none is left behind.
    pub(crate) async fn as_another_role(&self, rights: &str) -> String {
        self.sql.batch_execute(&format!("GRANT {rights} ON latchhook_outbox TO pg_monitor")).await.unwrap();
        let mut url = url::Url::parse(&self.database.url).unwrap();
        url.query_pairs_mut().append_pair("options", "-crole=pg_monitor");
        url.into()
    }

    /// One step of a forwarder of its own.
    pub(crate) async fn forward(&self) -> Result<Step, ForwardError> {
        self.forwarder().forward(now()).await
    }

    pub(crate) async fn write(&self, key: Option<&str>, body: &str) {
        write(&self.sql, key, body).await;
    }

    /// The bodies that are in the outbox, in its order.
    pub(crate) async fn outbox(&self) -> Vec<String> {
        let rows = self.sql.query("SELECT body FROM latchhook_outbox ORDER BY id", &[]).await.unwrap();
        rows.iter().map(|row| String::from_utf8(row.get(0)).unwrap()).collect()
    }

    /// Returns once somebody in the app's database waits for a lock.
    pub(crate) async fn somebody_waits(&self) {
        let waits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        until("somebody waits", async || !self.sql.query(waits, &[]).await.unwrap().is_empty()).await;
    }

    /// The reasons in the outbox, by id.
    pub(crate) async fn reasons(&self) -> Vec<(i64, String)> {
        let query = "SELECT id, error FROM latchhook_outbox WHERE error IS NOT NULL ORDER BY id";
        self.sql.query(query, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// All that is in the queue, in the order in which workers would be handed it. Nobody may be at work on it.
    pub(crate) async fn queued(&self) -> Vec<RawEvent> {
        let mut connection = self.redis().await;
        let ids: Vec<String> =
            redis::cmd("LRANGE").arg(self.active()).arg(0).arg(-1).query_async(&mut connection).await.unwrap();
        let ask = redis::cmd("HGETALL").arg(self.bytes_of_jobs()).to_owned();
        let jobs: HashMap<String, Vec<u8>> = ask.query_async(&mut connection).await.unwrap();
        let jobs = ids.iter().map(|id| Job::decode(&jobs[id].clone().into()).unwrap());
        jobs.flat_map(|job| job.entries).map(|entry| entry.raw_event).collect()
    }

    /// Makes room in Redis, as workers would.
    pub(crate) async fn forget_queued(&self) {
        redis::cmd("DEL")
            .arg(self.bytes_of_jobs())
            .arg(self.active())
            .exec_async(&mut self.redis().await)
            .await
            .unwrap();
    }

    fn bytes_of_jobs(&self) -> String {
        format!("{}:inbound:data", self.pipeline.test_redis.prefix)
    }

    fn active(&self) -> String {
        format!("{}:inbound:active", self.pipeline.test_redis.prefix)
    }

    async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.pipeline.test_redis.url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Likewise, their bodies.
    pub(crate) async fn queued_bodies(&self) -> Vec<String> {
        let text = |raw_event: RawEvent| String::from_utf8(raw_event.body.to_vec()).unwrap();
        self.queued().await.into_iter().map(text).collect()
    }
}

async fn connect(database: &TestDatabase) -> Client {
    let (sql, connection) = tokio_postgres::connect(&database.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    sql
}

/// Puts a raw event of the source `wa` into the outbox, in the transaction that is open.
pub(crate) async fn write(sql: &Client, key: Option<&str>, body: &str) {
    write_as(sql, "wa", key, body, &json!({})).await;
}

/// Likewise, from any source, with headers.
pub(crate) async fn write_as(sql: &Client, source: &str, key: Option<&str>, body: &str, headers: &Value) {
    let insert = "INSERT INTO latchhook_outbox (source_id, key, body, headers) VALUES ($1, $2, $3, $4::text::jsonb)";
    sql.execute(insert, &[&source, &key, &body.as_bytes(), &headers.to_string()]).await.unwrap();
}

/// What the ledger calls it.
pub(crate) fn wamid(key: usize, number: usize) -> String {
    format!("wamid.{key}-{number:04}")
}

/// A request with one message, the `number`th of a key.
pub(crate) fn numbered(key: usize, number: usize) -> String {
    a_text(&wamid(key, number), "hello")
}
