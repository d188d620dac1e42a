//! The migrations, embedded in the binary.

use std::time::Duration;

use diesel::sql_types::BigInt;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// Any number, the same for every replica.
const LOCK: i64 = 0x6c61_7463_6868_6f6f;
const PAUSE: Duration = Duration::from_millis(200);

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error("Postgres cannot be reached: check that it runs and that DATABASE_URL is right")]
    Connect(#[source] diesel::ConnectionError),
    /// The lock could not be asked for.
    #[error("the lock that keeps two migrations apart cannot be taken")]
    Lock(#[source] diesel::result::Error),
    /// A migration failed; those before it are kept.
    #[error("a migration failed")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Brings the schema of the database at `url` up to date; says which migrations it ran. Needs tokio's multi-thread runtime.
///
/// Safe with many replicas at once: they take turns. The lock is tried, not waited for, because a waiter's snapshot would
/// hold up a `CREATE INDEX CONCURRENTLY` of whoever has it until Postgres calls it a deadlock.
///
/// # Errors
/// When the server cannot be reached or a migration fails.
pub async fn migrate(url: &str) -> Result<Vec<String>, MigrateError> {
    let connection = crate::connect::establish(url).await.map_err(MigrateError::Connect)?;
    while !try_lock(&connection).await.map_err(MigrateError::Lock)? {
        tokio::time::sleep(PAUSE).await;
    }
    let mut harness = AsyncMigrationHarness::new(connection);
    let ran = harness.run_pending_migrations(MIGRATIONS).map_err(MigrateError::Migration)?;
    Ok(ran.iter().map(ToString::to_string).collect())
}

async fn try_lock(conn: &AsyncPgConnection) -> diesel::QueryResult<bool> {
    diesel::define_sql_function!(fn pg_try_advisory_lock(key: BigInt) -> diesel::sql_types::Bool);
    diesel::select(pg_try_advisory_lock(LOCK)).get_result(&mut &*conn).await
}
