//! The stores, what is set up in them by the commands that an operator types, and how far everything has got.

use std::{
    process::{Command, Output},
    time::Duration,
};

use serde_json::Value;
use tests::{Pipeline, TestDatabase, binary};
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls};

use super::customer::Customer;

/// How long nothing may come nearer to its end. Longer than any death takes, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What the app changes in the transactions in which it tells of it.
const CONVERSATIONS: &str = "CREATE TABLE conversations (id int PRIMARY KEY, messages int NOT NULL DEFAULT 0); \
                             INSERT INTO conversations (id) SELECT generate_series(0, 6)";

pub(super) struct Scene {
    pub(super) pipeline: Pipeline,
    pub(super) customer: Customer,
    /// With which the app enqueues over HTTP.
    pub(super) token: String,
    /// The app's own Postgres, with its outbox.
    pub(super) app_database: TestDatabase,
    app_sql: Client,
}

impl Scene {
    pub(super) async fn new() -> Self {
        let (pipeline, customer, app_database) =
            (Pipeline::new().await, Customer::new().await, tests::database().await);
        let (app_sql, connection) = tokio_postgres::connect(&app_database.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let endpoint = ["endpoint", "add", "--id=bot", "--account=acme", "--events=*", "--url", &customer.url];
        latchhook(&pipeline, &endpoint).await;
        let token = latchhook(&pipeline, &["source", "token", "wa", "--json"]).await;
        let token: Value = serde_json::from_str(&token).unwrap();
        let outbox = latchhook(&pipeline, &["outbox", "sql"]).await;
        app_sql.batch_execute(&format!("{outbox};{CONVERSATIONS}")).await.unwrap();
        Self { pipeline, customer, token: token["token"].as_str().unwrap().to_owned(), app_database, app_sql }
    }

    /// Waits until so many events are recorded; says whether they are.
    pub(super) async fn has_recorded(&self, events: usize) -> bool {
        let events = i64::try_from(events).unwrap();
        let recorded = "SELECT coalesce(sum(last), 0)::bigint FROM source_sequences";
        let left = nothing_is_left(async || (events - self.pipeline.number(recorded).await).max(0)).await;
        left.is_ok()
    }

    /// Waits until there is nothing left to do anywhere: in the outbox, in the queue, and of what customers are owed.
    pub(super) async fn stands(&self) {
        let (rows, owed) =
            ("SELECT count(*) FROM latchhook_outbox", "SELECT count(*) FROM deliveries WHERE state = 'pending'");
        let outbox = nothing_is_left(async || self.app_sql.query_one(rows, &[]).await.unwrap().get(0)).await;
        let jobs = async || i64::try_from(self.pipeline.inbound.depth().await.unwrap().all()).unwrap();
        let queue = nothing_is_left(jobs).await;
        let deliveries = nothing_is_left(async || self.pipeline.number(owed).await).await;
        assert_eq!(
            (outbox, queue, deliveries),
            (Ok(()), Ok(()), Ok(())),
            "rows, jobs and deliveries are left for good"
        );
    }

    /// What `latchhook audit` prints, and whether it has found nothing.
    pub(super) async fn audit(&self) -> (String, bool) {
        let output = run(&self.pipeline, &["audit"]).await;
        (String::from_utf8(output.stdout).unwrap(), output.status.success())
    }

    /// Whether the app's own rows tell of as many messages as were taken from its outbox: neither without the other.
    pub(super) async fn has_committed_with_its_own_rows(&self, messages: usize) -> bool {
        let told = self.app_sql.query_one("SELECT sum(messages) FROM conversations", &[]).await.unwrap();
        told.get::<_, i64>(0) == i64::try_from(messages).unwrap()
    }
}

/// Runs a command of the binary over the stores of a pipeline; gives what it prints. It must succeed.
async fn latchhook(pipeline: &Pipeline, words: &[&str]) -> String {
    let output = run(pipeline, words).await;
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{words:?}: {out}{}", String::from_utf8_lossy(&output.stderr));
    out
}

async fn run(pipeline: &Pipeline, words: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(words).envs(pipeline.environment());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Waits for what processes do, as long as there is less and less left of it; gives what is left then.
async fn nothing_is_left(mut left: impl AsyncFnMut() -> i64) -> Result<(), i64> {
    let (mut least, mut since) = (i64::MAX, Instant::now());
    loop {
        let now = left().await;
        if now == 0 {
            return Ok(());
        }
        if now < least {
            (least, since) = (now, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            return Err(now);
        }
        sleep(LOOK_EVERY).await;
    }
}
