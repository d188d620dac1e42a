//! The two stores of one run: private, durable, and farther away if that is asked for. Empty at its begin, unless they were
//! filled: to fill them takes minutes, so the runs that want as much in them, for as many endpoints, share them. What an
//! earlier run has added is then there too.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use queue::Redis;
use tokio_postgres::NoTls;

use super::{case::Case, children::Listening, usage};
use crate::servers::{DataDir, Durability, PostgresServer, RedisServer, RedisSettings};

/// As `dev` has it: with a limit, producers refuse above 75 % of it, and they should have room for the largest backlog.
const MAX_MEMORY: u64 = 8 << 30;
/// Stands in the directory of stores that were filled.
const FILLED: &str = "filled";
/// The directories of stores below the bench's own.
const EMPTY: &str = "empty";
const FULL: &str = "filled-";

/// A Redis and a Postgres.
pub(super) struct Stores {
    /// Where stages find Redis.
    pub(super) redis_url: String,
    /// Where stages find Postgres.
    pub(super) database_url: String,
    /// How the bench itself looks into Postgres: past any delay.
    pub(super) postgres: tokio_postgres::Client,
    /// Past any delay too.
    pub(super) near_database_url: String,
    near_redis_url: String,
    delays: Vec<Listening>,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    filled: PathBuf,
    /// Last, because what is dropped last is given back last.
    _directory: DataDir,
}

impl Stores {
    /// Starts both below this directory; whatever an earlier run left is gone, unless it was filled for the same case.
    ///
    /// # Errors
    /// When they do not start.
    pub(super) async fn start(directory: &Path, case: &Case) -> anyhow::Result<Self> {
        let directory = &directory.join(name(case));
        let filled = directory.join(FILLED);
        if !filled.exists() {
            clear(directory)?;
        }
        let data = DataDir::take(directory)?;
        let durability = if case.every_second { Durability::EverySecond } else { Durability::Durable };
        let redis = RedisSettings { durability, maxmemory: Some(MAX_MEMORY), binary: None };
        let redis_server = RedisServer::start(&data.path().join("redis"), &redis)?;
        let postgres_server = PostgresServer::start(&data.path().join("postgres"), Durability::Durable)?;
        let (near_redis_url, near_database_url) = (redis_server.url(), postgres_server.url("postgres"));
        let (postgres, connection) = tokio_postgres::connect(&near_database_url, NoTls).await?;
        tokio::spawn(connection);
        let mut stores = Self {
            redis_url: near_redis_url.clone(),
            database_url: near_database_url.clone(),
            postgres,
            near_redis_url,
            near_database_url,
            delays: Vec::new(),
            redis_server,
            postgres_server,
            filled,
            _directory: data,
        };
        if !case.latency.is_zero() {
            stores.move_away(case.latency).await?;
        }
        Ok(stores)
    }

    /// Whether an earlier run has filled them.
    pub(super) fn are_filled(&self) -> bool {
        self.filled.exists()
    }

    /// Keeps what is in them for the next run of the case.
    ///
    /// # Errors
    /// When the disk is full.
    pub(super) fn keep_filled(&self) -> anyhow::Result<()> {
        fs::write(&self.filled, []).context("cannot mark the stores as filled")
    }

    /// Puts a delay in front of both.
    async fn move_away(&mut self, latency: Duration) -> anyhow::Result<()> {
        let redis = delay(&self.redis_server.socket(), latency).await?;
        let postgres = delay(&self.postgres_server.socket(), latency).await?;
        self.redis_url = format!("redis://{}", redis.address);
        self.database_url = format!("postgresql://latchhook@{}/postgres", postgres.address);
        self.delays = vec![redis, postgres];
        Ok(())
    }

    /// Redis, past any delay.
    ///
    /// # Errors
    /// When its address is none.
    pub(super) fn redis(&self, prefix: &str) -> anyhow::Result<Redis> {
        Ok(Redis::new(&self.near_redis_url, prefix)?)
    }

    /// How many bytes Postgres has put into its log so far.
    ///
    /// # Errors
    /// As any query.
    pub(super) async fn wal(&self) -> anyhow::Result<u64> {
        let query = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
        Ok(self.postgres.query_one(query, &[]).await?.get::<_, i64>(0).cast_unsigned())
    }

    /// What the two call themselves.
    ///
    /// # Errors
    /// When one does not answer.
    pub(super) async fn versions(&self, prefix: &str) -> anyhow::Result<String> {
        let postgres: String = self.postgres.query_one("SHOW server_version", &[]).await?.get(0);
        let facts = self.redis(prefix)?.server().await?;
        Ok(format!("Postgres {postgres}, {} {}", facts.name, facts.version))
    }

    /// What each has used so far.
    pub(super) fn cpu(&self) -> Vec<(String, Duration)> {
        let delays = self.delays.iter().map(|delay| usage::cpu(&delay.pid().to_string())).sum();
        vec![
            ("redis".to_owned(), usage::cpu_of_tree(self.redis_server.pid())),
            ("postgres".to_owned(), usage::cpu_of_tree(self.postgres_server.pid())),
            ("delay".to_owned(), delays),
        ]
    }

    /// The peak of Redis, and what Postgres has now.
    pub(super) fn memory(&self) -> Vec<(String, u64)> {
        vec![
            ("redis".to_owned(), usage::peak(&self.redis_server.pid().to_string())),
            ("postgres".to_owned(), usage::memory_of_tree(self.postgres_server.pid())),
        ]
    }

    /// From now on the peak is another one.
    pub(super) fn forget_peak(&self) {
        usage::forget_peak(&self.redis_server.pid().to_string());
    }
}

fn name(case: &Case) -> String {
    match case.preload {
        0 => EMPTY.to_owned(),
        events => format!("{FULL}{events}-{}", case.endpoints),
    }
}

/// Removes what an earlier bench left below this directory; nothing else.
///
/// # Errors
/// When the system does not allow it.
pub(super) fn forget(directory: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let entry = entry?;
        let name = entry.file_name();
        if name == EMPTY || name.to_string_lossy().starts_with(FULL) {
            clear(&entry.path())?;
        }
    }
    Ok(())
}

fn clear(directory: &Path) -> anyhow::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    Ok(())
}

async fn delay(socket: &Path, latency: Duration) -> anyhow::Result<Listening> {
    let hold = humantime::format_duration(latency).to_string();
    Listening::start(&["delay", "--to", &socket.to_string_lossy(), "--hold", &hold]).await
}
