//! The stores: a private Postgres and Redis that are killed, filled and emptied; and the ways around all proxies by which
//! a run is set up, watched and judged.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::Context;
use latchhook::servers::{Durability, PostgresServer, RedisServer, RedisSettings, ScratchDir};
use queue::{Inbound, Redis};
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};

use crate::lock::lock;

/// What the keys of a run begin with.
pub(crate) const PREFIX: &str = "chaos";
/// Enough for any backlog here; producers refuse above 75 % of it.
const MAX_MEMORY: u64 = 256 << 20;
/// Less than an empty Redis uses.
const TOO_LITTLE: u64 = 500_000;

/// Postgres and Redis of a run's own, gone afterwards. Redis keeps all that it acknowledges, as in production.
pub(crate) struct Stores {
    postgres: Mutex<PostgresServer>,
    redis: Mutex<RedisServer>,
    database_url: String,
    redis_url: String,
    home: ScratchDir,
}

impl Stores {
    /// Starts both, and migrates.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let home = ScratchDir::new()?;
        let settings = RedisSettings { maxmemory: Some(MAX_MEMORY), ..RedisSettings::durable() };
        let redis = RedisServer::start(&home.path().join("redis"), &settings)?;
        let postgres = PostgresServer::start(&home.path().join("postgres"), Durability::Durable)?;
        let (database_url, redis_url) = (postgres.url("postgres"), redis.url());
        database::migrate(&database_url).await?;
        Ok(Self { postgres: Mutex::new(postgres), redis: Mutex::new(redis), database_url, redis_url, home })
    }

    /// Where everything of the run is kept.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The `DATABASE_URL` without a proxy.
    pub(crate) fn database_url(&self) -> &str {
        &self.database_url
    }

    /// The `REDIS_URL` without a proxy.
    pub(crate) fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// The `DATABASE_URL` of a process behind a proxy.
    pub(crate) fn database_url_through(&self, proxy: SocketAddr) -> String {
        format!("postgresql://latchhook@{proxy}/postgres?sslmode=disable")
    }

    /// What a proxy of Redis forwards to.
    pub(crate) fn redis_socket(&self) -> PathBuf {
        lock(&self.redis).socket()
    }

    /// What a proxy of Postgres forwards to.
    pub(crate) fn postgres_socket(&self) -> PathBuf {
        lock(&self.postgres).socket()
    }

    /// A connection that nobody else uses.
    pub(crate) async fn sql(&self) -> anyhow::Result<Client> {
        let (client, connection) = tokio_postgres::connect(&self.database_url, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// The queue, to look at.
    pub(crate) fn inbound(&self) -> anyhow::Result<Inbound> {
        Ok(Inbound::new(&Redis::new(&self.redis_url, PREFIX)?))
    }

    /// Kills Redis; starts it again after a while, with its log.
    pub(crate) async fn restart_redis(&self, away: Duration) -> anyhow::Result<()> {
        self.with_redis(|redis| redis.kill());
        sleep(away).await;
        self.with_redis(RedisServer::restart).context("Redis does not come back")
    }

    /// Kills Redis; starts it again without its log, as on a new machine. Says when it forgot.
    pub(crate) async fn empty_redis(&self) -> anyhow::Result<Instant> {
        let forgot = self.with_redis(|redis| {
            redis.kill();
            Instant::now()
        });
        fs::remove_dir_all(self.home().join("redis").join("appendonlydir"))?;
        self.with_redis(RedisServer::restart).context("Redis does not come back")?;
        Ok(forgot)
    }

    /// FLUSHALL. Says when Redis forgot.
    pub(crate) async fn flush_redis(&self) -> anyhow::Result<Instant> {
        self.ask_redis(&mut redis::cmd("FLUSHALL")).await?;
        Ok(Instant::now())
    }

    /// Has Redis refuse what needs memory, for a while.
    pub(crate) async fn fill_redis(&self, lasts: Duration) -> anyhow::Result<()> {
        self.limit_redis(TOO_LITTLE).await?;
        sleep(lasts).await;
        self.limit_redis(MAX_MEMORY).await
    }

    /// Kills Postgres; starts it again after a while.
    pub(crate) async fn restart_postgres(&self, away: Duration) -> anyhow::Result<()> {
        let with = |act: &mut dyn FnMut(&mut PostgresServer)| {
            tokio::task::block_in_place(|| act(&mut lock(&self.postgres)));
        };
        with(&mut PostgresServer::kill);
        sleep(away).await;
        let mut restarted = Ok(());
        with(&mut |postgres| restarted = postgres.restart());
        restarted.context("Postgres does not come back")
    }

    async fn limit_redis(&self, bytes: u64) -> anyhow::Result<()> {
        self.ask_redis(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes)).await
    }

    async fn ask_redis(&self, command: &mut redis::Cmd) -> anyhow::Result<()> {
        let client = redis::Client::open(self.redis_url.as_str())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        Ok(command.query_async(&mut connection).await?)
    }

    fn with_redis<T>(&self, act: impl FnOnce(&mut RedisServer) -> T) -> T {
        tokio::task::block_in_place(|| act(&mut lock(&self.redis)))
    }
}
