//! Looking at claims, for `audit`. Nothing here changes anything.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::{Claims, key};
use crate::{RedisError, inbound::CHUNK};

/// A claim that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldClaim {
    /// Whose key: `SOURCE:KEY`, or the hash of both where the key is long.
    pub key: String,
    /// Who holds it: `RAW EVENT:RUN`.
    pub owner: String,
    /// How long it holds if nobody renews it; `None` for ever, which nothing of ours sets.
    pub left: Option<Duration>,
}

impl HeldClaim {
    /// The name of the raw event that is worked on.
    pub fn raw_event(&self) -> &str {
        self.owner.rsplit_once(':').map_or(self.owner.as_str(), |(stamp, _run)| stamp)
    }
}

impl Claims {
    /// The claims that hold for longer than this if nobody renews them; those that say `done` are held by nobody.
    ///
    /// Walks all keys, page by page, and keeps no more than what is being worked on.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn held(&self, longer_than: Duration) -> Result<Vec<HeldClaim>, RedisError> {
        let mut connection = self.redis.connection().await?;
        let prefix = format!("{}:{}", self.redis.prefix(), key::KIND);
        let (mut held, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let mut page = redis::cmd("SCAN");
            page.arg(&cursor).arg("MATCH").arg(format!("{}*", literally(&prefix))).arg("COUNT").arg(CHUNK);
            let (next, names): (String, Vec<String>) = page.query_async(&mut connection).await?;
            let claims = of_names(&mut connection, &names).await?;
            held.extend(claims.into_iter().filter(|claim| claim.left.is_none_or(|left| left > longer_than)));
            if next == "0" {
                break;
            }
            cursor = next;
        }
        for claim in &mut held {
            let name = claim.key.trim_start_matches(&prefix);
            claim.key = name.split_once(':').map_or(name, |(_how, key)| key).to_owned();
        }
        // A page may repeat what an earlier one held.
        held.sort_unstable();
        held.dedup_by(|again, first| again.key == first.key);
        Ok(held)
    }
}

async fn of_names(connection: &mut MultiplexedConnection, names: &[String]) -> Result<Vec<HeldClaim>, RedisError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let owners: Vec<Option<Vec<u8>>> = redis::cmd("MGET").arg(names).query_async(connection).await?;
    let held = names.iter().zip(owners).filter_map(|(name, owner)| Some((name, owner.filter(|it| it != key::DONE)?)));
    let held: Vec<(&String, Vec<u8>)> = held.collect();
    let mut ask = redis::pipe();
    for (name, _) in &held {
        ask.cmd("PTTL").arg(name);
    }
    let left: Vec<i64> = if held.is_empty() { Vec::new() } else { ask.query_async(connection).await? };
    let claim = |((name, owner), left): ((&String, Vec<u8>), i64)| match left {
        GONE => None,
        left => Some(HeldClaim {
            key: name.clone(),
            owner: String::from_utf8_lossy(&owner).into_owned(),
            left: u64::try_from(left).ok().map(Duration::from_millis),
        }),
    };
    Ok(held.into_iter().zip(left).filter_map(claim).collect())
}

/// What PTTL says of a key that is not there (any more).
const GONE: i64 = -2;

/// A prefix may hold what means something in a pattern.
fn literally(text: &str) -> String {
    text.chars().flat_map(|char| ['\\'].into_iter().filter(move |_| "*?[]\\".contains(char)).chain([char])).collect()
}
