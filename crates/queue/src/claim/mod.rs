//! The claim: the atomic hold on a key while a worker works on it.
//!
//! A lease with an owner, not a tombstone. It is **an economy**: it saves the work on simultaneous duplicates. What
//! makes an event recorded once is the ledger's unique constraint in Postgres, and nothing goes wrong when every
//! claim is wrong.
//!
//! ```text
//!                 take                  the run is finished (committed)
//! (absent) ──────────────▶ STAMP:RUN ─────────────────────────────────▶ done ──10 min──▶ (absent)
//!     ▲                    │  │   ▲ └─ take by another run of STAMP: its token, its run's lease
//!     └── release, lease ──┘  └───┘ renew the run
//! ```
//!
//! | found | means | [`Claims::take`] says |
//! |---|---|---|
//! | nothing, or a token of a run that is over | nobody works on it | [`Claim::Won`] |
//! | another raw event's token | it does, and may die | [`Claim::Held`]: defer, never drop |
//! | an earlier run's token of this raw event | that run is over, or believes it is not | [`Claim::TakenOver`] |
//! | a token of a run that is done | committed, says Redis | [`Claim::Done`]: ask the ledger |
//! | no answer in time | unknown | [`Claim::Unanswered`]: go on, the ledger decides |
//!
//! The lease is the run's, and so is `done`: what a run still holds is renewed and finished by one word for all of it. So a run
//! lets go of what has failed *before* it says that it is done, and takes nothing after.
//!
//! Claims have a connection of their own and a short deadline, so that a slow Redis costs a little and a silent one
//! no more.
//!
//! A script is called once for all claims of a group: a call of its own for each was three quarters of all that Redis did
//! for an event. So their keys must be on one server, as the queue's are. A word for each claim that it is done was half of what
//! claims cost after that; now it is none.
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
    /// How long a run's claims hold if nobody renews them.
    pub lease: Duration,
    /// How long a committed key is remembered, from when it was claimed: for the burst of simultaneous duplicates. Older ones
    /// are the ledger's.
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

    /// Takes the claims of a group, one round trip for all of up to 500 of one run. Answers in order. Once Redis has not
    /// answered, it is not asked for the rest.
    ///
    /// Equal keys of one group are the caller's to fold: the second would find the first.
    pub async fn take(&self, wanted: &[Wanted]) -> Vec<Claim> {
        let mut claims = Vec::with_capacity(wanted.len());
        let of_one_run = wanted.chunk_by(|one, next| one.owner.run == next.owner.run);
        for wanted in of_one_run.flat_map(|wanted| wanted.chunks(CHUNK)) {
            match claims.last() {
                Some(Claim::Unanswered) => claims.resize(claims.len() + wanted.len(), Claim::Unanswered),
                _ => claims.extend(self.take_together(wanted).await),
            }
        }
        claims
    }

    async fn take_together(&self, wanted: &[Wanted]) -> Vec<Claim> {
        let mut call = script::TAKE.key(key::name_of_run(self.redis.prefix(), wanted[0].owner.run));
        for wanted in wanted {
            call.key(self.name(wanted)).arg(wanted.owner.token());
        }
        call.arg(millis(self.settings.lease)).arg(millis(self.stands_for()));
        match self.ask(async |mut redis| call.invoke_async::<Vec<Value>>(&mut redis).await).await {
            Some(found) => wanted.iter().zip(&found).map(|(wanted, found)| judge(wanted, found)).collect(),
            None => vec![Claim::Unanswered; wanted.len()],
        }
    }

    /// A claim stands for longer than any run is renewed (two leases), so that it is the run's lease that ends.
    fn stands_for(&self) -> Duration {
        self.settings.remember_done.max(self.settings.lease.saturating_mul(3))
    }

    /// Makes the leases of their runs full again. What Redis does not answer ends by itself, and the ledger decides.
    pub async fn renew(&self, claimed: &[impl Borrow<Wanted>]) {
        self.say_of_runs(&script::RENEW, claimed, self.settings.lease).await;
    }

    /// Lets go of claims whose work failed, so that whoever waits need not wait for the lease. Returns how many were
    /// refused, because they are no longer the owner's; `None` when Redis did not answer for all. Then their run must not be
    /// called done.
    pub async fn release(&self, claimed: &[impl Borrow<Wanted>]) -> Option<usize> {
        let mut refused = 0;
        for claimed in claimed.chunks(CHUNK) {
            let mut call = script::RELEASE.prepare_invoke();
            for wanted in claimed.iter().map(Borrow::borrow) {
                call.key(self.name(wanted)).arg(wanted.owner.token());
            }
            refused += self.ask(async |mut redis| call.invoke_async::<usize>(&mut redis).await).await?;
        }
        Some(refused)
    }

    /// Marks as committed for a while what their runs hold: these keys, and whatever else was not released. Only after
    /// Postgres has answered COMMIT. What others have taken over meanwhile stays theirs; the commit has decided.
    pub async fn finish(&self, claimed: &[impl Borrow<Wanted>]) {
        self.say_of_runs(&script::FINISH, claimed, self.settings.remember_done).await;
    }

    async fn say_of_runs(&self, script: &Script, claimed: &[impl Borrow<Wanted>], time: Duration) {
        let mut runs: Vec<Run> = claimed.iter().map(|wanted| wanted.borrow().owner.run).collect();
        runs.dedup();
        for runs in runs.chunks(CHUNK) {
            let mut call = script.prepare_invoke();
            for run in runs {
                call.key(key::name_of_run(self.redis.prefix(), *run));
            }
            call.arg(millis(time));
            self.ask(async |mut redis| call.invoke_async::<()>(&mut redis).await).await;
        }
    }

    fn name(&self, wanted: &Wanted) -> String {
        key::name(self.redis.prefix(), &wanted.source, &wanted.key)
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

/// What `take.lua` found. A run that asks twice finds its own token.
fn judge(wanted: &Wanted, found: &Value) -> Claim {
    match found {
        Value::Nil => Claim::Won,
        Value::BulkString(found) if found == key::DONE => Claim::Done,
        Value::BulkString(found) if found == wanted.owner.token().as_bytes() => Claim::Won,
        Value::BulkString(found) if wanted.owner.is_same_raw_event(found) => Claim::TakenOver,
        _ => Claim::Held,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
