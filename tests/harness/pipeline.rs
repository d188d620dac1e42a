//! The pipeline up to Postgres, in steps that a test can call: receive, and look at what came of it.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic, its helpers too")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use database::Database;
use queue::{ConsumerSettings, Held, Inbound, Redis};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_postgres::{NoTls, Row, types::ToSql};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use vocabulary::{Job, MasterKey, RawEvent, SourceId, Stamp, Terms};
use worker::{Settings, Sources, Worker};

use crate::{TestDatabase, TestRedis};

/// The number that the sources of tests belong to.
const PHONE_NUMBER_ID: &str = "990000000000042";

/// A worker with stores of its own, an account `acme`, its source `wa`, and its endpoint `bot` that wants everything.
pub struct Pipeline {
    /// The worker, to be stepped.
    pub worker: Worker,
    /// The inbound queue.
    pub inbound: Inbound,
    /// Redis.
    pub redis: Redis,
    /// Postgres.
    pub database: Database,
    /// Where Redis is.
    pub test_redis: TestRedis,
    /// Where Postgres is; dropped with the pipeline.
    pub test_database: TestDatabase,
    /// What seals secrets.
    pub master: Arc<MasterKey>,
    /// The same, for the environment of another process.
    pub master_key: SecretString,
    sql: tokio_postgres::Client,
    /// From the first [`Pipeline::take`] on: until then jobs are left to others.
    taking: Mutex<Option<Taking>>,
}

impl Pipeline {
    /// Empty stores, and the account.
    pub async fn new() -> Self {
        Self::over(crate::redis().await).await
    }

    /// As [`Pipeline::new`], over a Redis of the test's own.
    pub async fn over(test_redis: TestRedis) -> Self {
        let test_database = crate::database().await;
        let redis = Redis::new(&test_redis.url, &test_redis.prefix).unwrap();
        let database = Database::for_stages(&test_database.url, 8).unwrap();
        let master_key = MasterKey::generate();
        let master = Arc::new(MasterKey::parse(&master_key).unwrap());
        let (sql, connection) = tokio_postgres::connect(&test_database.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let worker = another_worker(&redis, &database, &master, Settings::default());
        let inbound = Inbound::new(&redis);
        let pipeline = Self {
            worker,
            inbound,
            redis,
            database,
            test_redis,
            test_database,
            master,
            master_key,
            sql,
            taking: Mutex::default(),
        };
        pipeline.add_account("acme").await;
        pipeline.add_source("acme", "wa").await;
        pipeline.add_endpoint("acme", "bot", "*").await;
        pipeline
    }

    /// What another process finds the stores by; its customers are on this machine.
    pub fn environment(&self) -> [(&'static str, String); 6] {
        [
            ("DATABASE_URL", self.test_database.url.clone()),
            ("REDIS_URL", self.test_redis.url.clone()),
            ("LATCHHOOK_PREFIX", self.test_redis.prefix.clone()),
            ("LATCHHOOK_MASTER_KEY", self.master_key.expose_secret().to_owned()),
            ("LATCHHOOK_ALLOW_PRIVATE_ENDPOINTS", "127.0.0.0/8".to_owned()),
            ("LATCHHOOK_LOG", "warn".to_owned()),
        ]
    }

    /// A second worker process, as far as the stores can tell.
    pub fn another_worker(&self) -> Worker {
        self.another_worker_with(Settings::default())
    }

    /// Likewise, one that works in a way of its own.
    pub fn another_worker_with(&self, settings: Settings) -> Worker {
        another_worker(&self.redis, &self.database, &self.master, settings)
    }

    /// Adds an account.
    pub async fn add_account(&self, id: &str) {
        let connection = self.database.connection().await.unwrap();
        database::accounts::put(&connection, &id.parse().unwrap(), id).await.unwrap();
    }

    /// Adds a WhatsApp source to an account.
    pub async fn add_source(&self, account: &str, id: &str) {
        let settings = json!({"phone_number_id": PHONE_NUMBER_ID});
        let new = database::sources::NewSource {
            id: &id.parse().unwrap(),
            account_id: &account.parse().unwrap(),
            name: id,
            provider: "whatsapp",
            secrets: &["secret".to_owned().into()],
            verify_token: None,
            body_limit: None,
            settings: settings.as_object().unwrap(),
        };
        let connection = self.database.connection().await.unwrap();
        database::sources::put(&connection, &self.master, &new).await.unwrap();
    }

    /// Adds an endpoint to an account; nothing listens there.
    pub async fn add_endpoint(&self, account: &str, id: &str, event_types: &str) {
        self.add_endpoint_on(account, id, &Terms::of(event_types.parse().unwrap())).await;
    }

    /// Likewise, on terms of its own.
    pub async fn add_endpoint_on(&self, account: &str, id: &str, terms: &Terms) {
        let new = database::endpoints::NewEndpoint {
            id: &id.parse().unwrap(),
            account_id: &account.parse().unwrap(),
            url: "https://bot.example/webhooks",
            secrets: &["whsec_dGhlIHNlY3JldCBvZiBhIHRlc3QgYm90".to_owned().into()],
            terms,
        };
        let connection = self.database.connection().await.unwrap();
        database::endpoints::put(&connection, &self.master, &new).await.unwrap();
    }

    /// Enqueues one raw event of the source `wa`, and hands it out as the queue would.
    pub async fn enqueue(&self, body: impl Into<Bytes>) -> Held {
        self.enqueue_from("wa", body).await
    }

    /// Likewise, of another source.
    pub async fn enqueue_from(&self, source: &str, body: impl Into<Bytes>) -> Held {
        let job = Job::of([raw_event(source, body)]);
        self.inbound.enqueue(std::slice::from_ref(&job)).await.unwrap();
        self.take().await
    }

    /// The next job that the queue hands out; a deferred one when it is due.
    pub async fn take(&self) -> Held {
        let mut taking = self.taking.lock().await;
        let (taken, _) = taking.get_or_insert_with(|| take_jobs(self.inbound.clone()));
        let next = tokio::time::timeout(Duration::from_secs(30), taken.recv());
        next.await.expect("a job within 30 s").expect("the queue is consumed as long as the pipeline lives")
    }

    /// Has Redis forget every claim, as a flushed one would.
    pub async fn forget_claims(&self) {
        for key in self.claim_keys().await {
            let mut connection = self.redis_connection().await;
            let _: () = redis::cmd("DEL").arg(key).query_async(&mut connection).await.unwrap();
        }
    }

    /// Puts where a claim was what is none, so that no script can read it.
    pub async fn break_claim(&self, source: &str, key: &str) {
        let name = format!("{}:run-claim:{source}:{key}", self.test_redis.prefix);
        let mut put = redis::pipe();
        put.atomic().del(&name).rpush(&name, "no claim");
        put.query_async::<()>(&mut self.redis_connection().await).await.unwrap();
    }

    /// The claims that Redis holds, done ones too.
    pub async fn claim_keys(&self) -> Vec<String> {
        let pattern = format!("{}:run-claim:*", self.test_redis.prefix);
        let mut connection = self.redis_connection().await;
        redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap()
    }

    async fn redis_connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.test_redis.url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Enqueues a raw event and works it; gives its name.
    pub async fn receive(&self, body: impl Into<Bytes>) -> Stamp {
        let held = self.enqueue(body).await;
        let stamp = held.first.clone().expect("the producer stamps what it enqueues");
        self.worker.work(vec![held]).await;
        stamp
    }

    /// Rows of a query.
    pub async fn rows(&self, query: &str, values: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.sql.query(query, values).await.unwrap()
    }

    /// The only value of a query.
    pub async fn number(&self, query: &str) -> i64 {
        self.sql.query_one(query, &[]).await.unwrap().get(0)
    }

    /// Runs a statement.
    pub async fn execute(&self, statement: &str) {
        self.sql.batch_execute(statement).await.unwrap();
    }

    /// Returns once somebody waits for a lock that the open transaction of [`Pipeline::execute`] has.
    ///
    /// Not without a pause: who looks into `pg_locks` over and over keeps others from taking any lock for seconds.
    pub async fn somebody_waits_for_us(&self) {
        let waiting =
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))";
        while self.number(waiting).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Keys in the ledger, in the order of their sequence.
    pub async fn keys(&self) -> Vec<String> {
        let rows = self.rows("SELECT key FROM events ORDER BY source_id, sequence", &[]).await;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// What customers are told, in the order of the sequence: the bodies of what is owed.
    pub async fn told(&self) -> Vec<Value> {
        let query = "SELECT b.body FROM deliveries d JOIN bodies b USING (event_id, format) JOIN events e ON e.id = b.event_id \
                     ORDER BY e.source_id, e.sequence, d.endpoint_id";
        let rows = self.rows(query, &[]).await;
        rows.iter().map(|row| serde_json::from_slice(row.get::<_, &[u8]>(0)).unwrap()).collect()
    }

    /// The types of what customers are told.
    pub async fn told_types(&self) -> Vec<String> {
        self.told().await.iter().map(|body| body["type"].as_str().unwrap().to_owned()).collect()
    }

    /// A message as it stands: (direction, kind, status, content).
    pub async fn message(&self, external_id: &str) -> Option<MessageSeen> {
        let query =
            "SELECT direction, kind, status, convert_from(content, 'UTF8') FROM messages WHERE external_id = $1";
        let row = self.rows(query, &[&external_id]).await.pop()?;
        Some(MessageSeen { direction: row.get(0), kind: row.get(1), status: row.get(2), content: row.get(3) })
    }

    /// A receipt: (items, committed, quarantined, ended).
    pub async fn receipt(&self, stamp: &Stamp) -> Option<(i32, i32, i32, bool)> {
        let query = "SELECT items, committed, quarantined, ended_at IS NOT NULL FROM receipts \
                     WHERE incarnation = $1 AND number = $2";
        let number = stamp.number.cast_signed();
        let row = self.rows(query, &[&stamp.incarnation.as_str(), &number]).await.pop()?;
        Some((row.get(0), row.get(1), row.get(2), row.get(3)))
    }

    /// Reasons in quarantine, open ones, by item.
    pub async fn quarantined(&self) -> Vec<(i32, String)> {
        let query = "SELECT item, reason FROM quarantine WHERE closed_at IS NULL ORDER BY number, item";
        self.rows(query, &[]).await.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

type Taking = (mpsc::Receiver<Held>, AbortOnDropHandle<()>);

/// Jobs as the queue hands them out: to whoever asks next, and to nobody who settles them by himself.
fn take_jobs(inbound: Inbound) -> Taking {
    let (hand, taken) = mpsc::channel(1000);
    let taking = async move {
        let (_never, pause) = watch::channel(false);
        let handle = move |held| {
            let hand = hand.clone();
            async move {
                let _gone = hand.send(held).await;
                std::future::pending().await
            }
        };
        let settings = ConsumerSettings { concurrency: 1000, ..ConsumerSettings::default() };
        queue::consume(inbound, settings, pause, CancellationToken::new(), handle).await;
    };
    (taken, AbortOnDropHandle::new(tokio::spawn(taking)))
}

fn another_worker(redis: &Redis, database: &Database, master: &Arc<MasterKey>, settings: Settings) -> Worker {
    let sources = Sources::new(database.clone(), master.clone(), redis);
    Worker::builder(redis, database.clone(), sources).settings(settings).build()
}

/// A message as a row shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSeen {
    /// `incoming` or `outgoing`.
    pub direction: String,
    /// The provider's type.
    pub kind: Option<String>,
    /// How far it got.
    pub status: Option<String>,
    /// Its text.
    pub content: Option<String>,
}

/// A raw event that a producer would have taken.
pub fn raw_event(source: &str, body: impl Into<Bytes>) -> RawEvent {
    let source_id: SourceId = source.parse().unwrap();
    let received_at: DateTime<Utc> = DateTime::from_timestamp(1_771_000_100, 0).unwrap();
    RawEvent { source_id, received_at, headers: Vec::new(), body: body.into() }
}

/// A request as WhatsApp sends it, with these values of `field` `messages`.
pub fn whatsapp(values: &[Value]) -> String {
    let changes: Vec<_> = values.iter().map(|value| change("messages", value)).collect();
    json!({"object": "whatsapp_business_account", "entry": [{"id": "880000000000007", "changes": changes}]}).to_string()
}

fn change(field: &str, value: &Value) -> Value {
    let mut value = value.clone();
    value["messaging_product"] = json!("whatsapp");
    value["metadata"] = json!({"display_phone_number": "15550100042", "phone_number_id": PHONE_NUMBER_ID});
    json!({"field": field, "value": value})
}

/// A text message.
pub fn text(wamid: &str, body: &str) -> Value {
    json!({"from": "15550101234", "id": wamid, "timestamp": "1771000000", "type": "text", "text": {"body": body}})
}

/// A request with one text message.
pub fn a_text(wamid: &str, body: &str) -> String {
    whatsapp(&[json!({"messages": [text(wamid, body)]})])
}

/// A request with one status.
pub fn a_status(wamid: &str, word: &str) -> String {
    let mut status = json!({"id": wamid, "status": word, "timestamp": "1771000040", "recipient_id": "15550101234"});
    if word == "failed" {
        status["errors"] = json!([{"code": 131026, "title": "Message undeliverable"}]);
    }
    whatsapp(&[json!({"statuses": [status]})])
}

/// A request with one reaction.
pub fn a_reaction(wamid: &str, target: &str, emoji: &str) -> String {
    let reaction = json!({"message_id": target, "emoji": emoji});
    let message = json!({"from": "15550101234", "id": wamid, "timestamp": "1771000020", "type": "reaction", "reaction": reaction});
    whatsapp(&[json!({"messages": [message]})])
}
