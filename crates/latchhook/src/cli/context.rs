//! What commands work with: settings, the two stores, stdout, and the time.

use std::env;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use database::{Connection, Database};
use queue::Redis;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use vocabulary::{IdError, MasterKey};

use super::{output::Output, settings::Settings};

/// Given to every command. Stores are connected to when first asked for, so a command needs only those that it uses.
pub(crate) struct Context<'a> {
    /// As the command line and the environment say.
    pub(crate) settings: Settings,
    /// Where data goes.
    pub(crate) out: Output<'a>,
    /// When the command began.
    pub(crate) now: DateTime<Utc>,
}

impl Context<'_> {
    /// A connection to Postgres.
    pub(crate) async fn postgres(&self) -> anyhow::Result<Connection> {
        Ok(Database::new(self.database_url()?, 1)?.connection().await?)
    }

    /// Where Postgres is.
    pub(crate) fn database_url(&self) -> anyhow::Result<&str> {
        let advice = "DATABASE_URL is not set: say where Postgres is, as postgres://USER:PASSWORD@HOST/DATABASE";
        given(&self.settings.database_url).context(advice)
    }

    /// Where an app's outbox is.
    pub(crate) fn outbox_url(&self) -> anyhow::Result<&str> {
        let advice = "LATCHHOOK_OUTBOX_URL is not set: say where the app's Postgres is whose outbox is meant, as \
             postgres://USER:PASSWORD@HOST/DATABASE";
        given(&self.settings.outbox_url).context(advice)
    }

    /// Where Redis is.
    pub(crate) fn redis_url(&self) -> anyhow::Result<&str> {
        let advice = "REDIS_URL is not set: say where Redis is, as redis://HOST:PORT/DB or redis+unix:///PATH";
        given(&self.settings.redis_url).context(advice)
    }

    /// Redis, which answers.
    pub(crate) async fn redis(&self) -> anyhow::Result<Redis> {
        let redis = Redis::new(self.redis_url()?, &self.settings.prefix)?;
        redis.ping().await.context("Redis cannot be reached: check that it runs and that REDIS_URL is right")?;
        Ok(redis)
    }

    /// What secrets are sealed under.
    pub(crate) fn master_key(&self) -> anyhow::Result<MasterKey> {
        let advice = "LATCHHOOK_MASTER_KEY is not set: make one and keep it (head -c 32 /dev/urandom | base64)";
        let key = self.settings.master_key.as_ref().filter(|key| !key.expose_secret().is_empty()).context(advice)?;
        Ok(MasterKey::parse(key)?)
    }

    /// Says something to the person at the terminal; no data.
    pub(crate) fn note(&self, text: &str) {
        eprintln!("{text}");
    }

    /// Says what something had and has no longer, because it was added again without it; and how that is kept.
    pub(crate) fn note_lost(&self, id: &str, lost: &[String], keep: &str) {
        if !lost.is_empty() {
            self.note(&format!("{id} has no longer: {}. {keep}", lost.join(", ")));
        }
    }
}

/// A variable that is set to nothing is not set.
fn given(setting: &Option<SecretString>) -> Option<&str> {
    setting.as_ref().map(ExposeSecret::expose_secret).filter(|text| !text.is_empty())
}

/// Who does what `audit_log` keeps.
pub(crate) fn actor() -> String {
    let name = env::var("USER").or_else(|_| env::var("LOGNAME")).ok().filter(|name| !name.is_empty());
    format!("cli:{}", name.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw())))
}

/// A short random id, for who gives none: 50 bits, so that a million of them are still all different.
pub(crate) fn fresh_id<Id: std::str::FromStr<Err = IdError>>() -> Result<Id, IdError> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 10];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has random bytes");
    let id: String = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    id.parse()
}
