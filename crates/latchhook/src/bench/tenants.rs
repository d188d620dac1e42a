//! Tenants beside the one that is measured: a large installation has thousands, each process knows the sources of all of them,
//! and nobody asks Postgres for one when a request comes.
//!
//! How soon a source that was just added is known to a producer that runs is measured too: it is what people wait for who set
//! one up.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use database::{Database, sources};
use queue::Snapshots;
use serde::Serialize;
use serde_json::Map;
use tokio::{net::TcpStream, time::sleep};
use vocabulary::MasterKey;

use super::{stores::Stores, wire::Wire};

/// What each of them has.
const SOURCES: u64 = 10;
const ENDPOINTS: u64 = 100;

const MOVE_IN: &str = "
    INSERT INTO accounts (id, name) SELECT 'tenant-' || t, 'Tenant ' || t FROM generate_series(1, :tenants) AS t;
    INSERT INTO endpoints (id, account_id, url, secrets, event_types)
        SELECT 'tenant-' || t || '-' || e, 'tenant-' || t, 'https://tenant-' || t || '.example/' || e, '{}', '{message_created}'
        FROM generate_series(1, :tenants) AS t, generate_series(1, :endpoints) AS e;
    VACUUM (ANALYZE)
";
/// Longer than this, and it is a fault, not a figure.
const KNOWN_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EACH: Duration = Duration::from_millis(20);
const NEW_SOURCE: &str = "added-later";

/// What many sources cost.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Crowd {
    /// All that there are, of all tenants.
    pub(super) sources: usize,
    /// Seconds from COMMIT of a new source until a producer answered for it.
    pub(super) known_after: f64,
    /// Seconds until another producer that starts then has read all sources.
    pub(super) read_in: f64,
}

/// Moves so many in. Their secrets are sealed as anybody's, so that whoever publishes them has them all to open.
///
/// # Errors
/// As any statement.
pub(super) async fn move_in(stores: &Stores, master: &MasterKey, tenants: u64) -> anyhow::Result<()> {
    if tenants == 0 {
        return Ok(());
    }
    let script = MOVE_IN.replace(":tenants", &tenants.to_string()).replace(":endpoints", &ENDPOINTS.to_string());
    // One at a time: VACUUM refuses to be in a transaction.
    for statement in script.split(";\n") {
        stores.postgres.batch_execute(statement).await.context("tenants cannot move in")?;
    }
    let postgres = Database::new(&stores.near_database_url, 1)?.connection().await?;
    for tenant in 1..=tenants {
        for number in 1..=SOURCES {
            add(&postgres, master, &format!("tenant-{tenant}-{number}"), &format!("tenant-{tenant}")).await?;
        }
    }
    Ok(())
}

async fn add(postgres: &database::Connection, master: &MasterKey, id: &str, account: &str) -> anyhow::Result<()> {
    let source = sources::NewSource {
        id: &id.parse()?,
        account_id: &account.parse()?,
        name: id,
        provider: "github",
        secrets: &[format!("secret of {id}").into()],
        verify_token: None,
        body_limit: None,
        settings: &Map::new(),
    };
    sources::put(postgres, master, &source).await?;
    Ok(())
}

/// Adds a source to an account, and sees when the producer at `address` knows it; then how long all of them take to read.
///
/// # Errors
/// When a store refuses, or the source is not known within a minute.
pub(super) async fn measure(stores: &Stores, prefix: &str, master: &MasterKey, address: &str) -> anyhow::Result<Crowd> {
    let postgres = Database::new(&stores.near_database_url, 1)?.connection().await?;
    add(&postgres, master, NEW_SOURCE, "tenant-1").await?;
    let committed = Instant::now();
    let mut wire = Wire::new(TcpStream::connect(address).await?);
    let request = format!("POST /hooks/{NEW_SOURCE} HTTP/1.1\r\nhost: latchhook\r\ncontent-length: 2\r\n\r\n{{}}");
    loop {
        wire.write(request.as_bytes()).await?;
        // It is not signed, so whoever knows it refuses it.
        if wire.answer().await?.status != 404 {
            break;
        }
        ensure!(committed.elapsed() < KNOWN_WITHIN, "a source that was added is not known after {KNOWN_WITHIN:?}");
        sleep(LOOK_EACH).await;
    }
    let known_after = committed.elapsed().as_secs_f64();
    let began = Instant::now();
    let read = Snapshots::new(&stores.redis(prefix)?).read(master, None).await?;
    let queue::Read::Newer(all) = read else { anyhow::bail!("nobody has published the sources") };
    Ok(Crowd { sources: all.sources.len(), known_after, read_in: began.elapsed().as_secs_f64() })
}
