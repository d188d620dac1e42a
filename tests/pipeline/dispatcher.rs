//! What the dispatcher promises: told once it is true, delivered at least once and recognisably, and nobody waits for
//! somebody else's customer.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

#[path = "dispatcher/abandoning.rs"]
mod abandoning;
#[path = "dispatcher/access.rs"]
mod access;
#[path = "dispatcher/again.rs"]
mod again;
#[path = "dispatcher/answers.rs"]
mod answers;
#[path = "dispatcher/backlog.rs"]
mod backlog;
#[path = "dispatcher/certificates.rs"]
mod certificates;
#[path = "dispatcher/changes.rs"]
mod changes;
#[path = "dispatcher/customer.rs"]
mod customer;
#[path = "dispatcher/deaths.rs"]
mod deaths;
#[path = "dispatcher/fairness.rs"]
mod fairness;
#[path = "dispatcher/formats.rs"]
mod formats;
#[path = "dispatcher/gates.rs"]
mod gates;
#[path = "dispatcher/giving_up.rs"]
mod giving_up;
#[path = "dispatcher/grants.rs"]
mod grants;
#[path = "dispatcher/kept.rs"]
mod kept;
#[path = "dispatcher/lanes.rs"]
mod lanes;
#[path = "dispatcher/large_bodies.rs"]
mod large_bodies;
#[path = "dispatcher/latency.rs"]
mod latency;
#[path = "dispatcher/leases.rs"]
mod leases;
#[path = "dispatcher/limits.rs"]
mod limits;
#[path = "dispatcher/master_key.rs"]
mod master_key;
#[path = "dispatcher/metrics.rs"]
mod metrics;
#[path = "dispatcher/names.rs"]
mod names;
#[path = "dispatcher/promises.rs"]
mod promises;
#[path = "dispatcher/schedules.rs"]
mod schedules;
#[path = "dispatcher/secrets.rs"]
mod secrets;
#[path = "dispatcher/setting.rs"]
mod setting;
#[path = "dispatcher/still_delivered.rs"]
mod still_delivered;
#[path = "dispatcher/ways.rs"]
mod ways;
#[path = "dispatcher/wishes.rs"]
mod wishes;
