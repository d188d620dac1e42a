//! What a Redis that loses its memory takes with it, and who says so. The rows of docs/what-redis-may-forget.md.
//!
//! A SIGKILL alone shows nothing: what the server had written stays in the system's memory, and the next one finds it. A
//! machine that loses power keeps what was synced, and any part of what came after. So the server is killed and its log is
//! *cut*: after the last sync, which with `appendfsync always` has happened before each acknowledgement.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic, its helpers too")]

#[path = "power/always.rs"]
mod always;
#[path = "power/empty.rs"]
mod empty;
#[path = "power/every_second.rs"]
mod every_second;
#[path = "power/evicted.rs"]
mod evicted;
#[path = "power/machine.rs"]
mod machine;

use rand::{SeedableRng, rngs::SmallRng};
use serde_json::Value;
use tests::{TestDatabase, TestRedis};
use vocabulary::Incarnation;

/// The same cuts in every run; another seed may be tried: `POWER_SEED=7 ./justw test --test power`.
fn random() -> SmallRng {
    let seed = std::env::var("POWER_SEED").map_or(20_261_123, |seed| seed.parse().unwrap());
    println!("POWER_SEED={seed}");
    SmallRng::seed_from_u64(seed)
}

/// What `latchhook audit` says of these stores, and whether it ends well.
struct Audit {
    report: Value,
    is_kept: bool,
    /// Ranges of missing numbers that nobody has accepted, as `latchhook audit accept --dry-run` lists them.
    missing: Vec<(Incarnation, u64, Option<u64>)>,
}

async fn audit(database: &TestDatabase, redis: &TestRedis) -> Audit {
    let run = async |command: &[&str]| {
        let stores = [("database-url", &database.url), ("redis-url", &redis.url), ("prefix", &redis.prefix)];
        let stores = stores.map(|(name, value)| format!("--{name}={value}"));
        let words = ["latchhook"].iter().chain(command).map(ToString::to_string).chain(stores);
        let mut out = Vec::new();
        let ended = latchhook::cli::run(words, &mut out).await;
        (serde_json::from_slice(&out).unwrap_or_default(), ended.is_ok())
    };
    let (report, is_kept): (Value, bool) = run(&["audit", "--json"]).await;
    let (lost, _) = run(&["audit", "accept", "--json", "--dry-run", "--reason", "a test looks"]).await;
    let range = |loss: &Value| {
        let incarnation = Incarnation::new(loss["incarnation"].as_str().unwrap());
        (incarnation, loss["first"].as_u64().unwrap(), loss["last"].as_u64())
    };
    let missing = lost.as_array().into_iter().flatten().map(range).collect();
    Audit { report, is_kept, missing }
}

impl Audit {
    /// The first ids that the report names as missing.
    fn named(&self) -> Vec<String> {
        let check = "every number that the queue gave is settled or pending";
        let checks = self.report["checks"].as_array().unwrap();
        let finding = checks.iter().find(|finding| finding["check"] == check).unwrap();
        finding["offenders"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }
}
