//! Neighbours that nobody would choose: an endpoint that takes requests and never answers, one that refuses them, and one
//! with thousands of retries due at this moment. What they do to an endpoint that answers is what is measured: in several
//! rounds, each alone first and then beside neighbours of its own, because a vacuum that falls into the one and not into the
//! other would say more than they do.
//!
//! ```text
//!                ┌──▶ the endpoint that is measured
//!  each event ───┼──▶ hangs      (holds each request for as long as it is let)
//!                └──▶ refuses    (nobody listens)
//!  10,000 retries ──▶ recovers   (answers, all at once)
//! ```

use anyhow::Context;
use database::{Database, endpoints};
use secrecy::ExposeSecret;
use serde::Serialize;
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Duration, Instant, sleep},
};
use vocabulary::{EndpointId, MasterKey, Terms};

use super::{customer::Customer, histogram::Latency, stores::Stores};

/// How many retries fall due at once.
pub(super) const RETRIES: u64 = 10_000;
/// How long they may take, once nothing else is sent.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EACH: Duration = Duration::from_millis(100);
/// How many of the neighbours want each event.
pub(super) const WANT_EACH: u64 = 2;
/// The account of the endpoint that is measured, and of those who want the same events.
const ACCOUNT: &str = "bench";

/// As the stages would have written it: events of another source, owed to one endpoint, each tried once.
const OWE: &str = "
    INSERT INTO source_sequences (source_id, last) VALUES (':source', :retries);
    CREATE TEMPORARY VIEW owed AS SELECT n, 'key-' || n AS key,
        ('01900000-0000-7000-a00:round-' || lpad(to_hex(n), 12, '0'))::uuid AS id FROM generate_series(1::bigint, :retries) AS n;
    INSERT INTO receipts (incarnation, number, source_id, items, committed, quarantined, ended_at)
        SELECT 'foreign-:source', n, ':source', 1, 1, 0, now() FROM owed;
    INSERT INTO events (id, key_hash, source_id, key, kind, event_type, sequence, deliveries_owed, incarnation, number,
            received_at)
        SELECT id, sha256(int8send(3) || 'key' || int8send(2) || ':source' || int8send(length(key)) || key::bytea || int8send(0)),
            ':source', key, 'text', 'message_created', n, 1, 'foreign-:source', n, now() FROM owed;
    INSERT INTO bodies (event_id, body)
        SELECT id, convert_to('{\"type\":\"message_created\",\"data\":\"' || repeat('lorem ipsum ', 75) || '\"}', 'UTF8') FROM owed;
    INSERT INTO deliveries (event_id, endpoint_id, webhook_id, attempts)
        SELECT id, ':recovers', 'msg_' || left(encode(sha256(int8send(7) || 'webhook' || int8send(2) || ':source'
            || int8send(length(key)) || key::bytea || int8send(10) || ':recovers'), 'hex'), 40), 1 FROM owed;
    INSERT INTO attempts (event_id, endpoint_id, lease, webhook_id, body_hash, outcome, started_at, duration_us)
        SELECT event_id, ':recovers', nextval('leases'), webhook_id, sha256(body), 'timeout', now(), 1000
        FROM deliveries JOIN bodies USING (event_id) WHERE endpoint_id = ':recovers';
    INSERT INTO due (event_id, endpoint_id, attempts) SELECT id, ':recovers', 1 FROM owed;
    DROP VIEW owed;
";

/// The same endpoint at the same rate, alone and beside them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Fairness {
    /// Events a second.
    pub(super) rate: f64,
    /// Round by round.
    pub(super) rounds: Vec<Round>,
}

/// From when an event was due until the customer had it.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Round {
    /// With no neighbours, or with such as nobody sends to any more.
    pub(super) alone: Latency,
    /// With neighbours that have just moved in.
    pub(super) beside: Latency,
    /// How many retries the recovering one has taken.
    pub(super) retried: u64,
}

/// They are there as long as this is.
pub(super) struct Neighbours {
    endpoints: [EndpointId; 3],
    hanging: JoinHandle<()>,
    recovering: Customer,
}

impl Neighbours {
    /// Moves those of a round in, the first of which is 0 and the last 9.
    ///
    /// # Errors
    /// When they cannot listen, or a store refuses them.
    pub(super) async fn move_in(stores: &Stores, master: &MasterKey, round: u8) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let hangs = format!("http://{}/", listener.local_addr()?);
        // The port of one that listened a moment ago: nobody does now.
        let refuses = format!("http://{}/", TcpListener::bind("127.0.0.1:0").await?.local_addr()?);
        let recovering = Customer::start().await?;
        let postgres = Database::new(&stores.near_database_url, 1)?.connection().await?;
        let wanted = [
            ("hangs", hangs, "message_created"),
            ("refuses", refuses, "message_created"),
            ("recovers", recovering.url(0), "message_updated"),
        ];
        let endpoints = wanted.each_ref().map(|(name, ..)| format!("{name}-{round}").parse());
        let [hangs, refuses, recovers] = endpoints;
        let endpoints = [hangs?, refuses?, recovers?];
        for (id, (_, url, events)) in endpoints.iter().zip(&wanted) {
            let endpoint = endpoints::NewEndpoint {
                id,
                account_id: &ACCOUNT.parse()?,
                url,
                secrets: &[recovering.secret.expose_secret().into()],
                terms: &Terms::of(events.parse()?),
            };
            endpoints::put(&postgres, master, &endpoint).await?;
        }
        let words = [("round", round.to_string()), ("source", format!("n{round}")), ("retries", RETRIES.to_string())];
        let owe = words.iter().fold(OWE.to_owned(), |owe, (word, with)| owe.replace(&format!(":{word}"), with));
        let owe = owe.replace(":recovers", endpoints[2].as_str());
        stores.postgres.batch_execute(&owe).await.context("retries cannot be owed")?;
        // Retries come about one by one, not as 30 MB in a second, whose way to the disk would be measured with the rest.
        stores.postgres.batch_execute("CHECKPOINT").await?;
        Ok(Self { endpoints, hanging: tokio::spawn(hold(listener)), recovering })
    }

    /// Moves them out: what they are owed is held, and they are owed nothing more. Says how many retries have come; those that
    /// have not yet are waited for, for a while.
    ///
    /// # Errors
    /// When their customer does not answer, or the store does not.
    pub(super) async fn move_out(mut self, stores: &Stores) -> anyhow::Result<u64> {
        let (mut retried, until) = (0, Instant::now() + PATIENCE);
        while retried < RETRIES && Instant::now() < until {
            sleep(LOOK_EACH).await;
            retried = self.recovering.counts().await?.received;
        }
        let ids = self.endpoints.each_ref().map(EndpointId::as_str);
        let moved_out = "UPDATE endpoints SET enabled = false, disabled_reason = 'moved out', \
            event_types = '{message_updated}' WHERE id = ANY($1)";
        stores.postgres.execute(moved_out, &[&ids.as_slice()]).await?;
        Ok(retried)
    }
}

impl Round {
    /// How many times p99 is beside them what it is alone.
    pub(super) fn times(&self) -> f64 {
        self.beside.p99_us as f64 / self.alone.p99_us as f64
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.hanging.abort();
    }
}

/// Takes connections and says nothing.
async fn hold(listener: TcpListener) {
    let mut held = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        held.push(stream);
    }
}

/// How many deliveries are still owed to neighbours: what they leave undone is no fault of the subject's.
///
/// # Errors
/// As any query.
pub(super) async fn left(stores: &Stores) -> anyhow::Result<u64> {
    let query =
        "SELECT count(*) FROM deliveries WHERE state = 'pending' AND endpoint_id ~ '^(hangs|refuses|recovers)-'";
    Ok(stores.postgres.query_one(query, &[]).await?.get::<_, i64>(0).cast_unsigned())
}
