//! Where Redis is, and the connections to it.
//!
//! Every timeout is set here, because redis 1.8 gives up on an answer after 500 ms: less than a Redis needs that
//! forks or waits for its disk, and giving up on a command does not undo it. A pooled connection is asked for a PING
//! before it is used, so one that died while idle (Redis was restarted) is replaced before a command is risked on it. One
//! that has just been asked is not asked again: under load that would double the round trips.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use deadpool_redis::{Manager, Pool, PoolError, Runtime};
use redis::{
    AsyncConnectionConfig, Client,
    aio::{MultiplexedConnection, PubSub},
};

use crate::{Memory, ServerFacts};

/// A Redis that has been silent for so long counts as down.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Shared by whoever asks while it is known to live, so more than one is needed only when some have died.
const MAX_CONNECTIONS: usize = 4;
/// Who was alive a moment ago is. Shorter than any Redis takes to start, so that no restart falls in between, and that
/// whoever is idle asks every time.
const KNOWN_TO_LIVE: Duration = Duration::from_millis(3);

/// Where Redis is, and the prefix of every key. Cheap to clone; connects when it is first used, and again when it must.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    pool: Pool,
    /// The last one that answered, and when.
    alive: Arc<RwLock<Option<(MultiplexedConnection, Instant)>>>,
    prefix: Arc<str>,
}

/// Why Redis did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// Not an address.
    #[error("REDIS_URL is no address of a Redis (redis://HOST:PORT/DB, or redis+unix:///PATH)")]
    Address(#[source] redis::RedisError),
    /// No connection: it is down, unreachable, refuses us, or all connections are busy.
    #[error("no connection to Redis")]
    Unreachable(#[source] PoolError),
    /// An error instead of an answer, or none in time (what was asked may have been done all the same).
    #[error("Redis did not answer as it should")]
    Answer(#[from] redis::RedisError),
}

impl RedisError {
    /// Whether Redis refused because its memory is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Answer(error) if error.code() == Some("OOM"))
    }
}

impl Redis {
    /// Takes an address (`redis://…`, `redis+unix:///path`) and the prefix of all keys. Does not connect yet.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(url: &str, prefix: &str) -> Result<Self, RedisError> {
        let client = Client::open(url).map_err(RedisError::Address)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let manager = Manager::new_with_config(url, config).map_err(RedisError::Address)?;
        let pool = Pool::builder(manager)
            .max_size(MAX_CONNECTIONS)
            .wait_timeout(Some(RESPONSE_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(RESPONSE_TIMEOUT))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with timeouts needs a runtime, and has one");
        Ok(Self { client, pool, alive: Arc::default(), prefix: Arc::from(prefix) })
    }

    /// The prefix of every key and channel.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// When there is none.
    pub async fn ping(&self) -> Result<(), RedisError> {
        Ok(redis::cmd("PING").exec_async(&mut self.connection().await?).await?)
    }

    /// What `doctor` judges: version, memory, persistence.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn server(&self) -> Result<ServerFacts, RedisError> {
        ServerFacts::ask(&mut self.connection().await?).await
    }

    pub(crate) async fn memory(&self) -> Result<Memory, RedisError> {
        Memory::ask(&mut self.connection().await?).await
    }

    /// A connection that has answered within the last moment. What several say through it is sent together.
    pub(crate) async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        if let Some((connection, at)) = &*self.alive.read().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < KNOWN_TO_LIVE
        {
            return Ok(connection.clone());
        }
        let pooled = self.pool.get().await.map_err(RedisError::Unreachable)?;
        let connection = MultiplexedConnection::clone(&pooled);
        *self.alive.write().unwrap_or_else(PoisonError::into_inner) = Some((connection.clone(), Instant::now()));
        Ok(connection)
    }

    /// A connection that only listens.
    pub(crate) async fn subscriber(&self) -> Result<PubSub, RedisError> {
        Ok(self.client.get_async_pubsub().await?)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

impl std::fmt::Debug for Redis {
    /// Without the address: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
