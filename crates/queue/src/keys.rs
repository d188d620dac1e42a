//! The names of the inbound queue's keys.
//!
//! Where apalis-redis has a name for a thing, its name is used (from its own `Config`), so that what it pushes is ours to work
//! on, and a person who knows it finds his way. It cannot read our jobs by itself: a numbered one has no hash of metadata
//! before something is known of it.

use apalis_redis::Config;

/// Spelled out because queued jobs outlive a deploy: whoever renames it loses sight of them.
const QUEUE: &str = "inbound";

/// The keys of one installation's inbound queue.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Ids ready to be fetched: a list.
    pub(crate) active: String,
    /// Ids that are due later, by unix seconds with fractions: a sorted set.
    pub(crate) scheduled: String,
    /// Id to bytes: a hash.
    pub(crate) data: String,
    /// Ids that apalis gave up on: a set, which nothing of ours fills.
    pub(crate) dead: String,
    /// Worker to its last beat, in unix seconds with fractions: a sorted set.
    pub(crate) workers: String,
    /// Before a worker's name: the ids that it holds, a set.
    pub(crate) inflight_prefix: String,
    /// Before a worker's name: its lease, a hash.
    pub(crate) metadata_prefix: String,
    /// Before an id: what is known of the job beside its bytes, a hash, if anything is.
    pub(crate) meta_prefix: String,
    /// The incarnation that gives numbers now, and its last number: a hash.
    pub(crate) incarnation: String,
    /// Each earlier incarnation's last number: a hash.
    pub(crate) incarnations: String,
    /// Before a source: the keys that its requests were sent under lately, a hash.
    pub(crate) once_prefix: String,
    /// Where "the list is no longer empty" is published.
    pub(crate) channel: String,
    /// What apalis calls all this.
    pub(crate) config: Config,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        let queue = format!("{prefix}:{QUEUE}");
        let config = Config::default().queue(&queue);
        Self {
            active: config.active_jobs_list(),
            scheduled: config.scheduled_jobs_set(),
            data: config.job_data_hash(),
            dead: config.dead_jobs_set(),
            workers: config.workers_set(),
            inflight_prefix: config.inflight_jobs_set(),
            metadata_prefix: format!("{queue}:workers:metadata"),
            meta_prefix: config.job_meta_hash(),
            incarnation: format!("{queue}:incarnation"),
            incarnations: format!("{queue}:incarnations"),
            once_prefix: format!("{queue}:once"),
            // apalis-redis's own channel: a push of its own that goes straight to the list wakes us too.
            channel: format!("tasks:{}:available", config.active_jobs_list()),
            config,
        }
    }

    pub(crate) fn inflight(&self, worker: &str) -> String {
        format!("{}:{worker}", self.inflight_prefix)
    }

    pub(crate) fn metadata(&self, worker: &str) -> String {
        format!("{}:{worker}", self.metadata_prefix)
    }
}
