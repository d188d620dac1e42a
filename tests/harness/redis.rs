//! Redis for tests.

use std::{
    env,
    ops::{Deref, DerefMut},
    sync::OnceLock,
};

use latchhook::servers::{RedisServer, RedisSettings, ScratchDir};
use rand::distr::{Alphanumeric, SampleString};

/// A test's part of a Redis that it shares with others: touch only keys that begin with the prefix.
#[derive(Debug, Clone)]
pub struct TestRedis {
    /// The server.
    pub url: String,
    /// What all keys of this test begin with; no other test's do.
    pub prefix: String,
}

/// A Redis of the test's own, to be killed and restarted; stopped, and its data removed, when dropped.
#[derive(Debug)]
pub struct PrivateRedis {
    server: RedisServer,
    /// After the server: what is dropped last is removed last.
    _dir: ScratchDir,
}

/// A prefix of the test's own on a shared server.
///
/// # Panics
/// When no server can be started.
pub async fn redis() -> TestRedis {
    let prefix = format!("test-{}", Alphanumeric.sample_string(&mut rand::rng(), 12));
    let url = match env::var("REDIS_URL") {
        Ok(url) => url,
        Err(_) => tokio::task::spawn_blocking(|| shared().url()).await.expect("the private Redis starts"),
    };
    TestRedis { url, prefix }
}

/// A server of the test's own: what it acknowledged survives [`RedisServer::kill`].
///
/// # Panics
/// When it can't be started.
pub fn private_redis() -> PrivateRedis {
    private_redis_with(&RedisSettings::fast())
}

/// As [`private_redis`], with settings of the test's own.
///
/// # Panics
/// When it can't be started.
pub fn private_redis_with(settings: &RedisSettings) -> PrivateRedis {
    let dir = ScratchDir::new().expect("a directory for a private Redis");
    let server = RedisServer::start(&dir.path().join("redis"), settings).expect("a private Redis");
    PrivateRedis { server, _dir: dir }
}

fn shared() -> &'static RedisServer {
    static SHARED: OnceLock<PrivateRedis> = OnceLock::new();
    SHARED.get_or_init(private_redis)
}

impl Deref for PrivateRedis {
    type Target = RedisServer;

    fn deref(&self) -> &RedisServer {
        &self.server
    }
}

impl DerefMut for PrivateRedis {
    fn deref_mut(&mut self) -> &mut RedisServer {
        &mut self.server
    }
}
