//! The claim: the atomic hold on a key while a worker works on it.
//!
//! A lease with an owner, not a tombstone. It is **an economy**: it saves the work on simultaneous duplicates. What
//! makes an event recorded once is the ledger's unique constraint in Postgres, and nothing goes wrong when every
//! claim is wrong.
//!
//! ```text
//!                 take                     finish (committed)
//! (absent) ──────────────▶ STAMP:RUN ────────────────────────▶ done ──10 min──▶ (absent)
//!     ▲                    │  │   ▲ └─ take by another run of STAMP: its token, a full lease
//!     └── release, lease ──┘  └───┘ renew
//! ```
//!
//! | found | means | [`Claims::take`] says |
//! |---|---|---|
//! | nothing | nobody works on it | [`Claim::Won`] |
//! | another raw event's token | it does, and may die | [`Claim::Held`]: defer, never drop |
//! | an earlier run's token of this raw event | that run is over, or believes it is not | [`Claim::TakenOver`] |
//! | `done` | committed, says Redis | [`Claim::Done`]: ask the ledger |
//! | no answer in time | unknown | [`Claim::Unanswered`]: go on, the ledger decides |
//!
//! Claims have a connection of their own and a short deadline, so that a slow Redis costs a little and a silent one
//! no more.
//!
//! A script is called once for all claims of a group: a call of its own for each was three quarters of all that Redis did
//! for an event. So their keys must be on one server, as the queue's are.
//!
//! Claims are in Redis's memory alone: not in its append-only file, and not on its replicas. Writing them there was a third of what
//! they cost, and each answer waited for the disk. So a Redis that was restarted, or a replica that took over, knows no claims, and
//! what comes twice at that moment is worked on twice and recorded once. (A file that Redis has rewritten holds what stood at that
//! moment: a claim in it ends with its lease, whoever let it go meanwhile, and `done` is not believed without the ledger.)

mod key;
mod look;

use std::{borrow::Borrow, sync::Arc, time::Duration};

use redis::{
    RedisResult, Script, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::sync::OnceCell;
use vocabulary::{Key, SourceId};

pub use key::{Owner, Run};
pub use look::HeldClaim;

use crate::{Redis, script};

/// How many claims travel together: what Redis does in a few milliseconds, far within the deadline.
const CHUNK: usize = 500;

/// Times of a claim.
#[derive(Debug, Clone, Copy)]
pub struct ClaimSettings {
    /// How long a claim holds that nobody renews.
    pub lease: Duration,
    /// How long a committed key is remembered: for the burst of simultaneous duplicates. Older ones are the ledger's.
    pub remember_done: Duration,
    /// How long Redis may take to answer, connecting included.
    pub deadline: Duration,
}

impl Default for ClaimSettings {
    fn default() -> Self {
        Self {
            // Longer than a group's transaction may take (statement_timeout 30 s), so that leases run out on the dead
            // only.
            lease: Duration::from_secs(60),
            remember_done: Duration::from_secs(600),
            deadline: Duration::from_millis(200),
        }
    }
}

/// A key, and who wants to work on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Whose key.
    pub source: SourceId,
    /// The key.
    pub key: Key,
    /// Who takes, renews, releases or finishes.
    pub owner: Owner,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Claim {
    /// It is ours.
    Won,
    /// It is ours, and was an earlier run's of the same raw event, which can no longer renew, release or finish it.
    TakenOver,
    /// Another raw event's worker has it.
    Held,
    /// The key is committed, says Redis.
    Done,
    /// Redis did not say. It counts as unclaimed.
    Unanswered,
}

/// Takes claims, and lets them go. Cheap to clone; clones share a connection.
#[derive(Clone)]
pub struct Claims {
    redis: Redis,
    settings: ClaimSettings,
    connection: Arc<OnceCell<ConnectionManager>>,
}

impl Claims {
    /// Claims of one installation, on a connection of their own that is made when it is first needed.
    pub fn new(redis: &Redis, settings: ClaimSettings) -> Self {
        Self { redis: redis.clone(), settings, connection: Arc::default() }
    }

    /// Takes the claims of a group, one round trip for all of up to 500 (two where an earlier run is taken over). Answers in
    /// order. Once Redis has not answered, it is not asked for the rest.
    ///
    /// Equal keys of one group are the caller's to fold: the second would find the first.
    pub async fn take(&self, wanted: &[Wanted]) -> Vec<Claim> {
        let mut claims = Vec::with_capacity(wanted.len());
        for wanted in wanted.chunks(CHUNK) {
            match claims.last() {
                Some(Claim::Unanswered) => claims.resize(claims.len() + wanted.len(), Claim::Unanswered),
                _ => claims.extend(self.take_together(wanted).await),
            }
        }
        claims
    }

    async fn take_together(&self, wanted: &[Wanted]) -> Vec<Claim> {
        let mut call = script::TAKE.prepare_invoke();
        for wanted in wanted {
            call.key(self.name(wanted)).arg(wanted.owner.token());
        }
        call.arg(millis(self.settings.lease));
        let Some(found) = self.ask(async |mut redis| call.invoke_async::<Vec<Value>>(&mut redis).await).await else {
            return vec![Claim::Unanswered; wanted.len()];
        };
        let mut claims: Vec<Claim> = wanted.iter().zip(&found).map(|(wanted, found)| judge(wanted, found)).collect();
        self.take_over(wanted, &found, &mut claims).await;
        claims
    }

    /// Makes the leases full again. Returns how many were refused, because the claim is no longer the owner's. What
    /// Redis did not answer is not counted: it ends by itself, and the ledger decides.
    pub async fn renew(&self, claimed: &[impl Borrow<Wanted>]) -> usize {
        self.refused(&script::RENEW, claimed, Some(self.settings.lease)).await
    }

    /// Lets go of claims whose work failed, so that whoever waits need not wait for the lease. Returns how many were
    /// refused, as [`Claims::renew`] does.
    pub async fn release(&self, claimed: &[impl Borrow<Wanted>]) -> usize {
        self.refused(&script::RELEASE, claimed, None).await
    }

    /// Marks keys as committed for a while. Only after Postgres has answered COMMIT. Returns how many were refused, as
    /// [`Claims::renew`] does; a refusal changes nothing, because the commit has decided.
    pub async fn finish(&self, claimed: &[impl Borrow<Wanted>]) -> usize {
        self.refused(&script::FINISH, claimed, Some(self.settings.remember_done)).await
    }

    fn name(&self, wanted: &Wanted) -> String {
        key::name(self.redis.prefix(), &wanted.source, &wanted.key)
    }

    /// The second round trip, for what an execution of the same raw event was found to hold.
    async fn take_over(&self, wanted: &[Wanted], found: &[Value], claims: &mut [Claim]) {
        let own: Vec<usize> = (0..claims.len()).filter(|&i| claims[i] == Claim::TakenOver).collect();
        if own.is_empty() {
            return;
        }
        let mut call = script::TAKE_OVER.prepare_invoke();
        for &i in &own {
            call.key(self.name(&wanted[i])).arg(token_in(&found[i])).arg(wanted[i].owner.token());
        }
        call.arg(millis(self.settings.lease));
        let answers: Option<Vec<Value>> = self.ask(async |mut redis| call.invoke_async(&mut redis).await).await;
        for (nth, &i) in own.iter().enumerate() {
            claims[i] = match answers.as_ref().map(|answers| &answers[nth]) {
                None => Claim::Unanswered,
                Some(Value::Int(1)) if token_in(&found[i]) == wanted[i].owner.token().as_bytes() => Claim::Won,
                Some(Value::Int(1)) => Claim::TakenOver,
                Some(Value::BulkString(now)) if now == key::DONE => Claim::Done,
                // It was let go, or taken, between the two round trips. Deferring costs a moment, and is always right.
                Some(_) => Claim::Held,
            };
        }
    }

    async fn refused(&self, script: &Script, claimed: &[impl Borrow<Wanted>], time: Option<Duration>) -> usize {
        let mut refused = 0;
        for claimed in claimed.chunks(CHUNK) {
            let mut call = script.prepare_invoke();
            for wanted in claimed.iter().map(Borrow::borrow) {
                call.key(self.name(wanted)).arg(wanted.owner.token());
            }
            call.arg(time.map(millis));
            refused +=
                self.ask(async |mut redis| call.invoke_async::<usize>(&mut redis).await).await.unwrap_or_default();
        }
        refused
    }

    /// What Redis says within the deadline. `None` when it was not answered whole.
    async fn ask<T>(&self, question: impl AsyncFnOnce(ConnectionManager) -> RedisResult<T>) -> Option<T> {
        let asking = async { question(self.connect().await?).await };
        match tokio::time::timeout(self.settings.deadline, asking).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "claim.unanswered");
                None
            }
            Err(_) => {
                tracing::warn!(deadline_ms = self.settings.deadline.as_millis(), "claim.unanswered");
                None
            }
        }
    }

    async fn connect(&self) -> RedisResult<ConnectionManager> {
        let connect = || async {
            let config = ConnectionManagerConfig::new()
                .set_connection_timeout(Some(self.settings.deadline))
                .set_response_timeout(Some(self.settings.deadline))
                // It connects again by itself; waiting longer than this between tries would outlast a Redis that is
                // back.
                .set_max_delay(self.settings.deadline);
            ConnectionManager::new_lazy_with_config(self.redis.client().clone(), config)
        };
        self.connection.get_or_try_init(connect).await.cloned()
    }
}

impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claims").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What `take.lua` found, before any take-over is tried.
fn judge(wanted: &Wanted, found: &Value) -> Claim {
    match found {
        Value::Nil => Claim::Won,
        Value::BulkString(found) if found == key::DONE => Claim::Done,
        Value::BulkString(found) if wanted.owner.is_same_raw_event(found) => Claim::TakenOver,
        _ => Claim::Held,
    }
}

fn token_in(found: &Value) -> &[u8] {
    match found {
        Value::BulkString(token) => token,
        _ => b"",
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
