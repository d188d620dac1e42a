//! Stores of the test's own, which can go away, and workers that run over them.

use std::{sync::Arc, time::Duration};

use database::Database;
use latchhook::servers::{Durability, PostgresServer, RedisSettings, ScratchDir};
use queue::{ClaimSettings, ConsumerSettings, Inbound, Redis};
use tests::{PrivateRedis, a_text, private_redis_with, raw_event};
use tokio::time::timeout;
use tokio_postgres::NoTls;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use vocabulary::{Job, MasterKey, Terms};
use worker::{Counters, Settings, Sources, Worker};

use super::enqueuing::Enqueuing;

/// Handlers of one worker; as many jobs again wait in its memory.
pub(super) const CONCURRENCY: usize = 16;
const PREFIX: &str = "latchhook";
/// Longer than it takes to be done with whatever an outage has left behind.
const SOON: Duration = Duration::from_secs(300);
/// In one step, so that a look at thousands of jobs does not take long: the attempts of all, and the claims that are not done.
const LOOK: &str = "
    local attempts, held = 0, 0
    for _, meta in ipairs(redis.call('KEYS', ARGV[1] .. ':inbound:meta:*')) do
      -- apalis's own count, and those that lead to quarantine here.
      for _, count in ipairs(redis.call('HMGET', meta, 'attempts', 'unclean', 'unclean_alone')) do
        attempts = attempts + tonumber(count or 0)
      end
    end
    for _, claim in ipairs(redis.call('KEYS', ARGV[1] .. ':run-claim:*')) do
      local run = string.sub(redis.call('GET', claim), -16)
      if redis.call('GET', ARGV[1] .. ':run:' .. run) == 'held' then held = held + 1 end
    end
    return { attempts, held }";

/// Stores, a queue, and whoever works on it.
pub(super) struct Installation {
    workers: Vec<(Arc<Counters>, AbortOnDropHandle<()>)>,
    pub(super) inbound: Inbound,
    pub(super) queue: Redis,
    master: Arc<MasterKey>,
    sql: tokio_postgres::Client,
    pub(super) postgres: PostgresServer,
    pub(super) redis: PrivateRedis,
    /// After the servers: what is dropped last is removed last.
    _dir: ScratchDir,
}

/// Where the jobs are, and what they have been through, as Redis tells it.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) depth: queue::Depth,
    /// All jobs' attempts together, as apalis counts them, and their unclean starts.
    pub(super) attempts: u64,
    /// Claims that somebody holds, and is not done with.
    pub(super) claims_held: usize,
}

impl Installation {
    /// Empty stores with an account `acme`, its source `wa` and its endpoint `bot`; nobody works yet.
    pub(super) async fn new() -> Self {
        Self::with(&RedisSettings::fast()).await
    }

    pub(super) async fn with(settings: &RedisSettings) -> Self {
        let dir = ScratchDir::new().unwrap();
        let postgres = PostgresServer::start(&dir.path().join("postgres"), Durability::Fast).unwrap();
        let redis = private_redis_with(settings);
        database::migrate(&postgres.url("postgres")).await.unwrap();
        let queue = Redis::new(&redis.url(), PREFIX).unwrap();
        let master = Arc::new(MasterKey::parse(&MasterKey::generate()).unwrap());
        let sql = connect(&postgres).await;
        let inbound = Inbound::new(&queue);
        let it = Self { workers: Vec::new(), inbound, queue, master, sql, postgres, redis, _dir: dir };
        it.set_up().await;
        it
    }

    async fn set_up(&self) {
        let stage = "CREATE ROLE stage LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO stage; \
                     GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO stage";
        self.execute(stage).await;
        let connection = self.database().connection().await.unwrap();
        let (acme, wa, bot) = ("acme".parse().unwrap(), "wa".parse().unwrap(), "bot".parse().unwrap());
        database::accounts::put(&connection, &acme, "Acme").await.unwrap();
        let source = database::sources::NewSource {
            id: &wa,
            account_id: &acme,
            name: "Support",
            provider: "whatsapp",
            secrets: &["secret".to_owned().into()],
            verify_token: None,
            body_limit: None,
            settings: &serde_json::Map::new(),
        };
        database::sources::put(&connection, &self.master, &source).await.unwrap();
        let endpoint = database::endpoints::NewEndpoint {
            id: &bot,
            account_id: &acme,
            url: "https://bot.example/webhooks",
            secrets: &["whsec_c2VjcmV0".to_owned().into()],
            terms: &Terms::of("*".parse().unwrap()),
        };
        database::endpoints::put(&connection, &self.master, &endpoint).await.unwrap();
    }

    /// Postgres as a stage sees it: through a role that the server owes no reserved connection.
    fn database(&self) -> Database {
        let url = self.postgres.url("postgres").replace("//latchhook@", "//stage@");
        Database::for_stages(&url, 4).unwrap()
    }

    /// One worker more.
    pub(super) fn employ(&mut self) {
        let settings = Settings {
            consumer: ConsumerSettings { concurrency: CONCURRENCY, ..ConsumerSettings::default() },
            ..Settings::default()
        };
        self.employ_with(settings);
    }

    /// One worker more, that is soon found dead, and soon finds others so.
    pub(super) fn employ_short_lived(&mut self) {
        let lease = Duration::from_secs(2);
        let consumer = ConsumerSettings { concurrency: CONCURRENCY, lease, ..ConsumerSettings::default() };
        let claims = ClaimSettings { lease, ..ClaimSettings::default() };
        self.employ_with(Settings { consumer, claims, ..Settings::default() });
    }

    pub(super) fn employ_with(&mut self, settings: Settings) {
        let database = self.database();
        let sources = Sources::new(database.clone(), self.master.clone(), &self.queue);
        let worker = Worker::builder(&self.queue, database, sources).settings(settings).build();
        let counters = worker.counters();
        let running = tokio::spawn(worker.run(CancellationToken::new()));
        self.workers.push((counters, AbortOnDropHandle::new(running)));
    }

    /// A counter of all workers together.
    pub(super) fn counted(&self, counter: impl Fn(&Counters) -> &vocabulary::Counter) -> u64 {
        self.workers.iter().map(|(counters, _)| counter(counters).get()).sum()
    }

    /// Jobs that workers have opened and not settled: those in their hands, and every try that was in vain. (Each job here
    /// has one item.)
    pub(super) fn in_vain(&self) -> u64 {
        let settled = self.counted(|c| &c.committed)
            + self.counted(|c| &c.repeated)
            + self.counted(|c| &c.duplicates_by_claim)
            + self.counted(|c| &c.duplicates_by_ledger);
        self.counted(|c| &c.jobs).saturating_sub(settled)
    }

    /// Somebody who goes on enqueuing.
    pub(super) fn keep_enqueuing(&self) -> Enqueuing {
        Enqueuing::start(&self.queue)
    }

    /// Enqueues so many raw events at once, each with a key and a job of its own.
    pub(super) async fn enqueue(&self, raw_events: usize) {
        let jobs: Vec<_> = (0..raw_events)
            .map(|n| Job::of([raw_event("wa", a_text(&format!("wamid.at-once.{n}"), "hello"))]))
            .collect();
        for chunk in jobs.chunks(500) {
            self.inbound.enqueue(chunk).await.unwrap();
        }
    }

    /// What Redis says of the jobs.
    pub(super) async fn look(&self) -> Look {
        let (attempts, claims_held) =
            ::redis::Script::new(LOOK).arg(PREFIX).invoke_async(&mut self.redis().await).await.unwrap();
        Look { depth: self.inbound.depth().await.unwrap(), attempts, claims_held }
    }

    async fn redis(&self) -> ::redis::aio::MultiplexedConnection {
        let client = ::redis::Client::open(self.redis.url()).unwrap();
        // To look at a hundred thousand keys takes longer than a command may take by default.
        let config = ::redis::AsyncConnectionConfig::new().set_response_timeout(None);
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }

    /// Starts Postgres again.
    pub(super) async fn postgres_comes_back(&mut self) {
        tokio::task::block_in_place(|| self.postgres.restart().unwrap());
        self.sql = connect(&self.postgres).await;
    }

    /// Starts Redis again.
    pub(super) fn redis_comes_back(&mut self) {
        tokio::task::block_in_place(|| self.redis.restart().unwrap());
    }

    pub(super) async fn execute(&self, statement: &str) {
        self.sql.batch_execute(statement).await.unwrap();
    }

    pub(super) async fn number(&self, query: &str) -> i64 {
        self.sql.query_one(query, &[]).await.unwrap().get(0)
    }

    /// Waits until there are so many events.
    pub(super) async fn until_recorded(&self, events: i64) {
        self.until("so many events", async || self.number("SELECT count(*) FROM events").await >= events).await;
    }

    /// Waits until nothing is left to be worked on.
    pub(super) async fn until_drained(&self) {
        let is_drained = async || {
            let depth = self.inbound.depth().await.unwrap();
            depth.ready + depth.scheduled + depth.inflight == 0
        };
        self.until("an empty queue", is_drained).await;
    }

    async fn until(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let wait = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, wait).await.unwrap_or_else(|_| panic!("it never came true: {what}"));
    }

    /// Everything that was enqueued is recorded once, owed once, has its receipt; nothing was quarantined, nothing is left.
    pub(super) async fn must_have_recorded(&self, events: u64, raw_events: u64) {
        self.until_drained().await;
        let (events, raw_events) = (events.cast_signed(), raw_events.cast_signed());
        assert_eq!(self.number("SELECT count(*) FROM events").await, events);
        assert_eq!(self.number("SELECT count(*) FROM deliveries").await, events);
        assert_eq!(self.number("SELECT count(*) FROM receipts WHERE ended_at IS NOT NULL").await, raw_events);
        assert_eq!(self.number("SELECT coalesce(sum(committed), 0) FROM receipts").await, events);
        assert_eq!(self.number("SELECT count(*) FROM quarantine").await, 0);
        let look = self.look().await;
        assert_eq!((look.depth.dead, look.depth.unreachable, look.claims_held), (0, 0, 0), "{look:?}");
    }
}

async fn connect(postgres: &PostgresServer) -> tokio_postgres::Client {
    let (sql, connection) = tokio_postgres::connect(&postgres.url("postgres"), NoTls).await.unwrap();
    tokio::spawn(connection);
    sql
}
