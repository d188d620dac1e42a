//! What Redis says of itself.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;

use crate::RedisError;

/// What decides whether a Redis keeps what it acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// `redis` or `valkey`.
    pub name: String,
    /// Its own version (a Valkey also claims a Redis version that it is compatible with; this is not that one).
    pub version: String,
    /// Changes with every start.
    pub run_id: String,
    /// Bytes in use.
    pub used_memory: u64,
    /// Bytes that it may use; `None` when it has no limit.
    pub max_memory: Option<u64>,
    /// Bytes that the machine has.
    pub system_memory: u64,
    /// What it does at the limit. Anything but `noeviction` throws jobs away.
    pub policy: String,
    /// Whether it writes an append-only file.
    pub is_append_only: bool,
    /// When that file is synced: `always`, `everysec` or `no`. `None` when Redis does not let us ask.
    pub append_fsync: Option<String>,
}

/// How full Redis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes in use.
    pub used: u64,
    /// Bytes that it may use; `None` when it has no limit.
    pub max: Option<u64>,
}

impl Memory {
    /// Whether a producer should refuse already: the last quarter belongs to what empties the queue.
    pub fn is_above_75_percent(&self) -> bool {
        self.max.is_some_and(|max| u128::from(self.used) * 4 > u128::from(max) * 3)
    }

    pub(crate) async fn ask(connection: &mut MultiplexedConnection) -> Result<Self, RedisError> {
        let info = Info::of("memory", connection).await?;
        Ok(Self { used: info.number("used_memory"), max: info.limit() })
    }
}

impl ServerFacts {
    pub(crate) async fn ask(connection: &mut MultiplexedConnection) -> Result<Self, RedisError> {
        let (server, memory) = (Info::of("server", connection).await?, Info::of("memory", connection).await?);
        let persistence = Info::of("persistence", connection).await?;
        let own_version = if server.0.contains_key("valkey_version") { "valkey_version" } else { "redis_version" };
        Ok(Self {
            name: own_version.trim_end_matches("_version").to_owned(),
            version: server.text(own_version),
            run_id: server.text("run_id"),
            used_memory: memory.number("used_memory"),
            max_memory: memory.limit(),
            system_memory: memory.number("total_system_memory"),
            policy: memory.text("maxmemory_policy"),
            is_append_only: persistence.number("aof_enabled") == 1,
            append_fsync: append_fsync(connection).await,
        })
    }
}

async fn append_fsync(connection: &mut MultiplexedConnection) -> Option<String> {
    // Hosted Redis often forbids CONFIG: then nobody knows, and `doctor` says so.
    let answer = redis::cmd("CONFIG").arg("GET").arg("appendfsync").query_async(connection).await;
    answer.ok().and_then(|mut settings: HashMap<String, String>| settings.remove("appendfsync"))
}

/// One section of `INFO`.
struct Info(HashMap<String, String>);

impl Info {
    async fn of(section: &str, connection: &mut MultiplexedConnection) -> Result<Self, RedisError> {
        let text: String = redis::cmd("INFO").arg(section).query_async(connection).await?;
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Ok(Self(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    fn text(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_default()
    }

    fn number(&self, name: &str) -> u64 {
        self.0.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    fn limit(&self) -> Option<u64> {
        Some(self.number("maxmemory")).filter(|max| *max > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_counts_as_filling_up_above_three_quarters_and_never_without_a_limit() {
        let is_filling = |used, max| Memory { used, max }.is_above_75_percent();

        assert!(!is_filling(750, Some(1000)));
        assert!(is_filling(751, Some(1000)));
        assert!(!is_filling(u64::MAX, None));
    }
}
