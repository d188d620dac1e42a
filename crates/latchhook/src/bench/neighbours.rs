//! Neighbours that nobody would choose: an endpoint that takes requests and never answers, one that refuses them, and one
//! with thousands of retries due at this moment. What they do to an endpoint that answers is what is measured.
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
use tokio::{net::TcpListener, task::JoinHandle};
use vocabulary::{MasterKey, Terms};

use super::{customer::Customer, histogram::Latency, stores::Stores};

/// How many retries fall due at once.
pub(super) const RETRIES: u64 = 10_000;
/// How many of the neighbours want each event.
pub(super) const WANT_EACH: u64 = 2;
/// The account of the endpoint that is measured, and of those who want the same events.
const ACCOUNT: &str = "bench";

/// As the stages would have written it: events of another source, owed to one endpoint, each tried once.
const OWE: &str = "
    INSERT INTO source_sequences (source_id, last) VALUES ('n', :retries);
    CREATE TEMPORARY VIEW owed AS SELECT n, 'key-' || n AS key,
        ('01900000-0000-7000-a000-' || lpad(to_hex(n), 12, '0'))::uuid AS id FROM generate_series(1::bigint, :retries) AS n;
    INSERT INTO receipts (incarnation, number, source_id, items, committed, quarantined, ended_at)
        SELECT 'foreign-neighbours', n, 'n', 1, 1, 0, now() FROM owed;
    INSERT INTO events (id, key_hash, source_id, key, kind, event_type, sequence, deliveries_owed, incarnation, number,
            received_at)
        SELECT id, sha256(int8send(3) || 'key' || int8send(1) || 'n' || int8send(length(key)) || key::bytea || int8send(0)),
            'n', key, 'text', 'message_created', n, 1, 'foreign-neighbours', n, now() FROM owed;
    INSERT INTO bodies (event_id, body)
        SELECT id, convert_to('{\"type\":\"message_created\",\"data\":\"' || repeat('lorem ipsum ', 75) || '\"}', 'UTF8') FROM owed;
    INSERT INTO deliveries (event_id, endpoint_id, webhook_id, attempts)
        SELECT id, 'recovers', 'msg_' || left(encode(sha256(int8send(7) || 'webhook' || int8send(1) || 'n'
            || int8send(length(key)) || key::bytea || int8send(8) || 'recovers'), 'hex'), 40), 1 FROM owed;
    INSERT INTO attempts (event_id, endpoint_id, lease, webhook_id, body_hash, outcome, started_at, duration_us)
        SELECT event_id, 'recovers', nextval('leases'), webhook_id, sha256(body), 'timeout', now(), 1000
        FROM deliveries JOIN bodies USING (event_id) WHERE endpoint_id = 'recovers';
    INSERT INTO due (event_id, endpoint_id, attempts) SELECT id, 'recovers', 1 FROM owed;
";

/// The same endpoint at the same rate, alone and beside them.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Fairness {
    /// Events a second.
    pub(super) rate: f64,
    /// From when an event was due until the customer had it.
    pub(super) alone: Latency,
    /// Likewise.
    pub(super) beside: Latency,
    /// How many retries have come to an end meanwhile.
    pub(super) retried: u64,
}

/// They are there as long as this is.
pub(super) struct Neighbours {
    hanging: JoinHandle<()>,
    recovering: Customer,
}

impl Neighbours {
    /// Moves them in.
    ///
    /// # Errors
    /// When they cannot listen, or a store refuses them.
    pub(super) async fn move_in(stores: &Stores, master: &MasterKey) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let hangs = format!("http://{}/", listener.local_addr()?);
        // The port of one that listened a moment ago: nobody does now.
        let refuses = format!("http://{}/", TcpListener::bind("127.0.0.1:0").await?.local_addr()?);
        let recovering = Customer::start().await?;
        let postgres = Database::new(&stores.near_database_url, 1)?.connection().await?;
        let wanted = [("hangs", hangs, "message_created"), ("refuses", refuses, "message_created")];
        for (id, url, events) in wanted.into_iter().chain([("recovers", recovering.url(0), "message_updated")]) {
            let endpoint = endpoints::NewEndpoint {
                id: &id.parse()?,
                account_id: &ACCOUNT.parse()?,
                url: &url,
                secrets: &[recovering.secret.expose_secret().into()],
                terms: &Terms::of(events.parse()?),
            };
            endpoints::put(&postgres, master, &endpoint).await?;
        }
        let owe = OWE.replace(":retries", &RETRIES.to_string());
        stores.postgres.batch_execute(&owe).await.context("retries cannot be owed")?;
        Ok(Self { hanging: tokio::spawn(hold(listener)), recovering })
    }

    /// How many retries have come.
    ///
    /// # Errors
    /// When their customer does not answer.
    pub(super) async fn retried(&mut self) -> anyhow::Result<u64> {
        Ok(self.recovering.counts().await?.received)
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
        "SELECT count(*) FROM deliveries WHERE state = 'pending' AND endpoint_id IN ('hangs', 'refuses', 'recovers')";
    Ok(stores.postgres.query_one(query, &[]).await?.get::<_, i64>(0).cast_unsigned())
}
