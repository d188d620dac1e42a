//! What a producer must know of the sources, published by any role that has Postgres.
//!
//! The producer has no Postgres, so whoever has one publishes all sources every 2 s: the blob only when a source
//! changed, the time always. Secrets are in it, so it is sealed whole with the master key; one that is sealed under
//! another key than the publisher's first is as good as changed, so that a master key can be rotated.
//!
//! A publisher may not be able to open all: a row is damaged, or it lacks a key that others have. Sources that it could not
//! open are in its snapshot without secrets, and of two snapshots of one revision the one with fewer of them stands.
//!
//! Beside it lies the directory: who there is, and what a door goes by, which is no secret. Whoever needs no more needs no
//! master key.

use std::{borrow::Borrow, collections::HashMap};

use chrono::{DateTime, Duration, Utc};
use redis::FromRedisValue;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vocabulary::{AccountId, MasterKey, SealError, SealedUnder, Source, SourceId, TokenHash};

use crate::{Redis, RedisError, script};

const PLACE: &str = "snapshot of the sources";

/// Nobody has published the higher revision, or could open so much of this one, for so long: whoever did is gone.
const GIVEN_UP_AFTER: Duration = Duration::seconds(60);

/// Publishes and reads the snapshot of the sources.
#[derive(Debug, Clone)]
pub struct Snapshots {
    redis: Redis,
    key: String,
}

/// What tells two snapshots apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Grows with every change of any source.
    pub revision: i64,
    /// How many of its sources did not open where it was made ([`Source::is_sealed`]).
    pub sealed: usize,
}

/// All sources as they were at one revision.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Which one it is.
    pub version: Version,
    /// When somebody last said that this is how things are, by that machine's clock.
    pub published_at: DateTime<Utc>,
    /// The sources, disabled ones too.
    pub sources: Vec<Source>,
}

/// What reading found.
#[derive(Debug, Clone)]
pub enum Read {
    /// The version that the reader has already, and when it was last said to be true.
    Unchanged {
        /// By the publisher's clock.
        published_at: DateTime<Utc>,
    },
    /// Another version.
    Newer(Snapshot),
    /// Nobody has published anything.
    Missing,
}

/// The enabled sources, as they were when the snapshot was written.
pub type Directory = HashMap<SourceId, Listed>;

/// What the directory has of a source: what a door must know, and no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Which provider's rules apply, by the provider's name.
    pub provider: String,
    /// The largest body that it takes, in bytes; `None` is what its provider sends at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_limit: Option<u32>,
    /// What only its provider understands.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
}

impl Listed {
    fn of(source: &Source) -> Self {
        let Source { provider, body_limit, settings, .. } = source.clone();
        Self { provider, body_limit, settings }
    }
}

/// What publishing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The sources are new in Redis.
    Rewritten,
    /// They were there already; only the time is new.
    Refreshed,
    /// Somebody publishes a higher revision: our view of Postgres is behind. Or the same one, and could open more of it.
    Outdated,
}

/// Why a snapshot was not published or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Redis did not do it.
    #[error("the snapshot of the sources is out of reach")]
    Redis(#[from] RedisError),
    /// Sealed under another master key, or damaged.
    #[error("the snapshot of the sources does not open")]
    Seal(#[from] SealError),
    /// Opened, and not readable: a newer latchhook wrote it.
    #[error("the snapshot of the sources is not of a form that this latchhook reads")]
    Shape(#[from] serde_json::Error),
}

impl From<redis::RedisError> for SnapshotError {
    fn from(error: redis::RedisError) -> Self {
        Self::Redis(error.into())
    }
}

impl Snapshots {
    /// The snapshot of one installation.
    pub fn new(redis: &Redis) -> Self {
        Self { redis: redis.clone(), key: format!("{}:sources", redis.prefix()) }
    }

    /// Says that these are the sources at `now`.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn publish(
        &self,
        master: &MasterKey,
        revision: i64,
        sources: &[impl Borrow<Source>],
        now: DateTime<Utc>,
    ) -> Result<Published, SnapshotError> {
        let mark = master.mark();
        let version = Version { revision, sealed: each(sources).filter(|source| source.is_sealed()).count() };
        let wanted = self.say(version, now, &mark, None).await?;
        if wanted != "blob wanted" {
            return Ok(published(&wanted));
        }
        let plain = serde_json::to_vec(&each(sources).map(Wire::of).collect::<Vec<_>>())?;
        let blob = master.seal(PLACE, &plain);
        let enabled = each(sources).filter(|source| source.enabled);
        let directory: Directory = enabled.map(|source| (source.id.clone(), Listed::of(source))).collect();
        let directory = serde_json::to_vec(&directory)?;
        Ok(published(&self.say(version, now, &mark, Some((&blob, &directory))).await?))
    }

    /// Who there is. `None` when nobody has published it: nobody has published anything, or the last who did was a latchhook
    /// that knew no directory, or one of names alone.
    ///
    /// # Errors
    /// When Redis does not answer, or answers what nobody published.
    pub async fn directory(&self) -> Result<Option<Directory>, SnapshotError> {
        type Told = (Option<i64>, Option<i64>, Option<Vec<u8>>);
        let (revision, directory_of, directory): Told = self.fields(&["revision", "listed_of", "listed"]).await?;
        let current = directory.filter(|_| revision == directory_of);
        Ok(current.map(|directory| serde_json::from_slice(&directory)).transpose()?)
    }

    /// Which master key the snapshot is sealed under; `None` when nobody has published one.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn sealed_under(&self, master: &MasterKey) -> Result<Option<SealedUnder>, SnapshotError> {
        let (blob,): (Option<Vec<u8>>,) = self.fields(&["blob"]).await?;
        Ok(blob.map(|blob| master.sealed_under(&blob)))
    }

    /// Reads the snapshot, or only its time if the reader has this version already.
    ///
    /// # Errors
    /// When Redis does not answer, or the snapshot does not open.
    pub async fn read(&self, master: &MasterKey, known: Option<Version>) -> Result<Read, SnapshotError> {
        type Head = (Option<i64>, Option<i64>, Option<usize>);
        let (revision, published_at, sealed): Head = self.fields(&["revision", "published_at", "sealed"]).await?;
        let Some((revision, published_at)) = revision.zip(published_at) else { return Ok(Read::Missing) };
        if known == Some(Version { revision, sealed: sealed.unwrap_or(0) }) {
            return Ok(Read::Unchanged { published_at: time(published_at) });
        }
        self.read_whole(master).await
    }

    async fn read_whole(&self, master: &MasterKey) -> Result<Read, SnapshotError> {
        type Whole = (Option<i64>, Option<i64>, Option<usize>, Option<Vec<u8>>);
        let (Some(revision), Some(published_at), sealed, Some(blob)): Whole =
            self.fields(&["revision", "published_at", "sealed", "blob"]).await?
        else {
            return Ok(Read::Missing);
        };
        let version = Version { revision, sealed: sealed.unwrap_or(0) };
        let wire: Vec<Wire> = serde_json::from_slice(&master.open(PLACE, &blob)?)?;
        let sources = wire.into_iter().map(Source::from).collect();
        Ok(Read::Newer(Snapshot { version, published_at: time(published_at), sources }))
    }

    async fn say(
        &self,
        version: Version,
        now: DateTime<Utc>,
        mark: &[u8],
        what: Option<(&[u8], &[u8])>,
    ) -> Result<String, RedisError> {
        let mut call = script::PUBLISH_SOURCES.key(&self.key);
        call.arg(version.revision).arg(now.timestamp_millis()).arg(GIVEN_UP_AFTER.num_milliseconds()).arg(mark);
        call.arg(version.sealed).arg(what);
        Ok(call.invoke_async(&mut self.redis.connection().await?).await?)
    }

    async fn fields<T: FromRedisValue>(&self, names: &[&str]) -> Result<T, RedisError> {
        let mut connection = self.redis.connection().await?;
        Ok(redis::cmd("HMGET").arg(&self.key).arg(names).query_async(&mut connection).await?)
    }
}

fn each(sources: &[impl Borrow<Source>]) -> impl Iterator<Item = &Source> {
    sources.iter().map(Borrow::borrow)
}

fn published(answer: &str) -> Published {
    match answer {
        "rewritten" => Published::Rewritten,
        "refreshed" => Published::Refreshed,
        _ => Published::Outdated,
    }
}

fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// A source as JSON, secrets and all. Only ever sealed.
#[derive(Serialize, Deserialize)]
struct Wire {
    id: SourceId,
    account_id: AccountId,
    name: String,
    provider: String,
    enabled: bool,
    secrets: Vec<String>,
    verify_token: Option<String>,
    /// A latchhook of before there were tokens writes none.
    #[serde(default)]
    tokens: Vec<TokenHash>,
    /// A latchhook of before sources had limits writes none, and passes over this one.
    #[serde(default)]
    body_limit: Option<u32>,
    settings: Map<String, Value>,
    revision: i64,
}

impl Wire {
    fn of(source: &Source) -> Self {
        Self {
            id: source.id.clone(),
            account_id: source.account_id.clone(),
            name: source.name.clone(),
            provider: source.provider.clone(),
            enabled: source.enabled,
            secrets: source.secrets.iter().map(|secret| secret.expose_secret().to_owned()).collect(),
            verify_token: source.verify_token.as_ref().map(|token| token.expose_secret().to_owned()),
            tokens: source.tokens.clone(),
            body_limit: source.body_limit,
            settings: source.settings.clone(),
            revision: source.revision,
        }
    }
}

impl From<Wire> for Source {
    fn from(wire: Wire) -> Self {
        Self {
            id: wire.id,
            account_id: wire.account_id,
            name: wire.name,
            provider: wire.provider,
            enabled: wire.enabled,
            secrets: wire.secrets.into_iter().map(Into::into).collect(),
            verify_token: wire.verify_token.map(Into::into),
            tokens: wire.tokens,
            body_limit: wire.body_limit,
            settings: wire.settings,
            revision: wire.revision,
        }
    }
}
