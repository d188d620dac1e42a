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
    /// How long it holds if nobody renews its run; `None` for ever, which nothing of ours sets.
    pub left: Option<Duration>,
}

impl HeldClaim {
    /// The name of the raw event that is worked on.
    pub fn raw_event(&self) -> &str {
        self.owner.rsplit_once(':').map_or(self.owner.as_str(), |(stamp, _run)| stamp)
    }
}

impl Claims {
    /// The claims that hold for longer than this if nobody renews them; those of a run that is over or done are held by nobody.
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
            let claims = self.of_names(&mut connection, &names).await?;
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

    /// Of these claims those that their runs hold.
    async fn of_names(
        &self,
        connection: &mut MultiplexedConnection,
        names: &[String],
    ) -> Result<Vec<HeldClaim>, RedisError> {
        let tokens = values(connection, names).await?;
        let claims: Vec<HeldClaim> =
            names.iter().zip(tokens).filter_map(|(name, token)| Some(claim(name, &token?))).collect();
        let runs: Vec<String> = claims.iter().map(|claim| self.name_of_run(claim)).collect();
        let said = values(connection, &runs).await?;
        let held = claims.into_iter().zip(runs).zip(said);
        let held = held.filter(|(_, said)| said.as_ref().is_some_and(|said| said != key::DONE));
        let (held, runs): (Vec<HeldClaim>, Vec<String>) = held.map(|(claim, _)| claim).unzip();
        if held.is_empty() {
            return Ok(held);
        }
        let mut ask = redis::pipe();
        for run in runs {
            ask.cmd("PTTL").arg(run);
        }
        let left: Vec<i64> = ask.query_async(connection).await?;
        let held = held.into_iter().zip(left).filter(|(_, left)| *left != GONE);
        let lasting = |left: i64| u64::try_from(left).ok().map(Duration::from_millis);
        Ok(held.map(|(claim, left)| HeldClaim { left: lasting(left), ..claim }).collect())
    }

    fn name_of_run(&self, claim: &HeldClaim) -> String {
        key::name_of_run(self.redis.prefix(), claim.owner.rsplit(':').next().unwrap_or_default())
    }
}

async fn values(connection: &mut MultiplexedConnection, names: &[String]) -> Result<Vec<Option<Vec<u8>>>, RedisError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    Ok(redis::cmd("MGET").arg(names).query_async(connection).await?)
}

fn claim(name: &str, token: &[u8]) -> HeldClaim {
    HeldClaim { key: name.to_owned(), owner: String::from_utf8_lossy(token).into_owned(), left: None }
}

/// What PTTL says of a key that is not there (any more).
const GONE: i64 = -2;

/// A prefix may hold what means something in a pattern.
fn literally(text: &str) -> String {
    text.chars().flat_map(|char| ['\\'].into_iter().filter(move |_| "*?[]\\".contains(char)).chain([char])).collect()
}
