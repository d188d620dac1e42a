//! Deliveries without a pipeline before them: an account, endpoints, and what they are owed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::Utc;
use database::{Database, attempts::Recorded, due};
use diesel_async::SimpleAsyncConnection;
use dispatcher::{Client, Dispatcher, Guard, Settings, signing::SigningSecret};
use secrecy::SecretString;
use tests::{TestDatabase, leasing};
use tokio_postgres::{NoTls, Row};
use uuid::Uuid;
use vocabulary::{AccountId, EndpointId, Format, Incarnation, Key, KeyHash, MasterKey, Stamp, Terms, WebhookId};

/// What every delivery of [`Setting::owe`] says, but for its key.
pub(crate) fn body(key: &str) -> Vec<u8> {
    // A NUL and half a surrogate pair: bytes are kept, not text.
    format!("{{\"type\":\"message_created\",\"data\":{{\"key\":\"{key}\",\"text\":\"\0\\ud800\"}}}}").into_bytes()
}

/// Postgres with an account in it, and somebody who may send to this machine.
pub(crate) struct Setting {
    pub(crate) database: Database,
    pub(crate) master: Arc<MasterKey>,
    pub(crate) secret: SecretString,
    sql: tokio_postgres::Client,
    /// The last number of the source.
    sequence: AtomicI64,
    pub(crate) test_database: TestDatabase,
}

impl Setting {
    pub(crate) async fn new() -> Self {
        let test_database = tests::database().await;
        let database = Database::new(&test_database.url, 8).unwrap();
        let account: AccountId = "acme".parse().unwrap();
        database::accounts::put(&database.connection().await.unwrap(), &account, "Acme").await.unwrap();
        let (sql, connection) = tokio_postgres::connect(&test_database.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let master = Arc::new(MasterKey::parse(&MasterKey::generate()).unwrap());
        Self { database, master, secret: SigningSecret::generate(), sql, sequence: AtomicI64::new(0), test_database }
    }

    /// A setting with one endpoint, `bot`, at a URL.
    pub(crate) async fn with_endpoint(url: &str) -> Self {
        let setting = Self::new().await;
        setting.add_endpoint("bot", url).await;
        setting
    }

    pub(crate) async fn add_endpoint(&self, id: &str, url: &str) {
        self.add_endpoint_with(id, url, &Terms::of("*".parse().unwrap())).await;
    }

    pub(crate) async fn add_endpoint_with(&self, id: &str, url: &str, terms: &Terms) {
        let new = database::endpoints::NewEndpoint {
            id: &id.parse().unwrap(),
            account_id: &"acme".parse().unwrap(),
            url,
            secrets: std::slice::from_ref(&self.secret),
            terms,
        };
        database::endpoints::put(&self.database.connection().await.unwrap(), &self.master, &new).await.unwrap();
    }

    /// Commits an event with this key, owed to an endpoint.
    pub(crate) async fn owe(&self, endpoint: &str, key: &str) -> Uuid {
        let connection = self.database.connection().await.unwrap();
        self.owe_in(&connection, endpoint, &[key]).await[0]
    }

    /// Commits many at once: `key-0` to `key-<count - 1>` where they are the first.
    pub(crate) async fn owe_many(&self, endpoint: &str, count: usize) {
        let before = self.sequence.load(Ordering::SeqCst);
        let keys: Vec<_> = (before..).take(count).map(|number| format!("key-{number}")).collect();
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        self.owe_in(&self.database.connection().await.unwrap(), endpoint, &keys).await;
    }

    /// Writes events and what they owe in whatever transaction the connection is in.
    pub(crate) async fn owe_in(
        &self,
        connection: &database::AsyncPgConnection,
        endpoint: &str,
        keys: &[&str],
    ) -> Vec<Uuid> {
        self.owe_in_lane(connection, endpoint, None, keys).await
    }

    /// Likewise, in a lane: in the order of the keys, behind what is there.
    pub(crate) async fn owe_in_lane(
        &self,
        connection: &database::AsyncPgConnection,
        endpoint: &str,
        lane: Option<&str>,
        keys: &[&str],
    ) -> Vec<Uuid> {
        let (source, endpoint) = ("wa".parse().unwrap(), endpoint.parse::<EndpointId>().unwrap());
        let stamp = Stamp { incarnation: Incarnation::new("i"), number: 1 };
        let now = Utc::now();
        let named: Vec<_> =
            keys.iter().map(|key| (Uuid::now_v7(), Key::new(format!("{endpoint}-{key}")).unwrap())).collect();
        let before = self.sequence.fetch_add(named.len() as i64, Ordering::SeqCst);
        let event = |(id, key): &'_ (Uuid, Key)| (*id, KeyHash::of(&source, key));
        let mut events: Vec<_> = named
            .iter()
            .zip(before + 1..)
            .map(|(named, sequence)| database::events::NewEvent {
                id: event(named).0,
                key_hash: event(named).1,
                source_id: "wa",
                key: named.1.as_str(),
                kind: "text",
                stamp: &stamp,
                occurred_at: None,
                received_at: now,
                sequence,
                event_type: Some("message_created"),
                deliveries_owed: 1,
            })
            .collect();
        database::events::insert(connection, &mut events).await.unwrap();
        let bodies: Vec<_> = named.iter().map(|(id, key)| (*id, Format::Full, body(key.as_str()).into())).collect();
        database::bodies::insert(connection, &bodies).await.unwrap();
        let owed = named.iter().zip(before + 1..).map(|((id, key), sequence)| database::deliveries::NewDelivery {
            event_id: *id,
            endpoint_id: endpoint.clone(),
            webhook_id: WebhookId::of(&source, key, &endpoint),
            format: Format::Full,
            lease: None,
            lane: lane.map(str::to_owned),
            sequence,
        });
        database::deliveries::owe(connection, &owed.collect::<Vec<_>>(), Duration::ZERO).await.unwrap();
        named.into_iter().map(|(id, _)| id).collect()
    }

    /// A dispatcher that may send to this machine.
    pub(crate) fn dispatcher(&self) -> Dispatcher {
        self.dispatcher_with(Settings::default())
    }

    pub(crate) fn dispatcher_with(&self, settings: Settings) -> Dispatcher {
        let client = Client::new(Guard::new("127.0.0.0/8".parse().unwrap()));
        Dispatcher::new(self.database.clone(), self.master.clone(), settings, client)
    }

    /// Leases everything that is due, as a dispatcher would that dies before it sends.
    pub(crate) async fn lease(&self) -> Vec<due::Leased<due::Body>> {
        self.lease_over(&self.database.connection().await.unwrap()).await
    }

    /// Likewise, over this connection.
    pub(crate) async fn lease_over(&self, connection: &database::AsyncPgConnection) -> Vec<due::Leased<due::Body>> {
        due::lease(connection, &leasing(due::Room { all: 1000, retries: 1000 })).await.unwrap()
    }

    /// The names of the audit's checks that do not hold.
    pub(crate) async fn breaches(&self) -> Vec<&'static str> {
        let findings = database::audit::check(&self.database.connection().await.unwrap()).await.unwrap();
        findings.iter().filter(|finding| finding.breaches > 0).map(|finding| finding.check).collect()
    }

    /// Every lease that is held ends now, as it would once its time is up.
    pub(crate) async fn leases_end(&self) {
        self.execute("UPDATE due SET due_at = now() WHERE lease IS NOT NULL").await;
    }

    /// The pauses before all retries are over, and nobody rests.
    pub(crate) async fn pauses_are_over(&self) {
        self.execute("UPDATE due SET due_at = now() WHERE lease IS NULL AND due_at IS NOT NULL; UPDATE gates SET rests_until = now(), asked_until = now()").await;
    }

    pub(crate) async fn record(&self, attempts: &[Recorded]) {
        database::attempts::record(&self.database.connection().await.unwrap(), attempts).await.unwrap();
    }

    pub(crate) async fn rows(&self, query: &str) -> Vec<Row> {
        self.sql.query(query, &[]).await.unwrap()
    }

    /// The only value of a query.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        self.sql.query_one(query, &[]).await.unwrap().get(0)
    }

    pub(crate) async fn execute(&self, statement: &str) {
        self.sql.batch_execute(statement).await.unwrap();
    }

    /// State and attempts of the only delivery.
    pub(crate) async fn delivery(&self) -> (String, i32) {
        let row = self.sql.query_one("SELECT state, attempts FROM deliveries", &[]).await.unwrap();
        (row.get(0), row.get(1))
    }

    /// Outcome and status of every attempt, in order.
    pub(crate) async fn attempts(&self) -> Vec<(String, Option<i16>)> {
        let rows = self.rows("SELECT outcome, http_status FROM attempts ORDER BY started_at, lease").await;
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

/// A transaction that is not committed yet.
pub(crate) async fn begin(database: &Database) -> database::Connection {
    let mut connection = database.connection().await.unwrap();
    connection.batch_execute("BEGIN").await.unwrap();
    connection
}

/// Everything that is due, and what follows from it, until nothing is.
pub(crate) async fn dispatch_all(dispatcher: &mut Dispatcher) -> usize {
    let mut sent = 0;
    loop {
        let leased = dispatcher.dispatch_due().await.unwrap().leased;
        dispatcher.settled().await;
        if leased == 0 {
            return sent;
        }
        sent += leased;
    }
}
