//! What Postgres says of itself: what decides whether it keeps what it committed.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::{
    IntoSql, QueryableByName,
    migration::{Migration, MigrationSource},
    pg::Pg,
    sql_types::{Array, Integer, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::{QueryError, QueryResult, migrate::MIGRATIONS};

/// What `doctor` judges.
#[derive(Debug, Clone)]
pub struct Facts {
    /// As people write it (`18.6`).
    pub version: String,
    /// Its first number.
    pub major: i32,
    /// `on`, or commits do not survive a crash of the machine.
    pub fsync: String,
    /// For this user and database. `off` forgets acknowledged commits in a crash.
    pub synchronous_commit: String,
    /// The migrations that were not applied yet, by version.
    pub pending_migrations: Vec<String>,
}

#[derive(QueryableByName)]
struct Server {
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Integer)]
    major: i32,
    #[diesel(sql_type = Text)]
    fsync: String,
    #[diesel(sql_type = Text)]
    synchronous_commit: String,
}

#[derive(QueryableByName)]
struct Applied {
    #[diesel(sql_type = Array<Text>)]
    versions: Vec<String>,
}

/// Asks; changes nothing, not even in a database without tables.
///
/// # Errors
/// As any query.
pub async fn read(conn: &AsyncPgConnection) -> QueryResult<Facts> {
    let ask = "SELECT current_setting('server_version') AS version, \
        current_setting('server_version_num')::int / 10000 AS major, \
        current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit";
    let server: Server = diesel::sql_query(ask).get_result(&mut &*conn).await?;
    let applied = applied(conn).await?;
    let all = MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(QueryError::DeserializationError)?;
    let versions = all.iter().map(|migration| migration.name().version().to_string());
    Ok(Facts {
        version: server.version,
        major: server.major,
        fsync: server.fsync,
        synchronous_commit: server.synchronous_commit,
        pending_migrations: versions.filter(|version| !applied.contains(version)).collect(),
    })
}

/// What time it is, by Postgres's clock.
///
/// # Errors
/// As any query.
pub async fn now(conn: &AsyncPgConnection) -> QueryResult<DateTime<Utc>> {
    diesel::select(diesel::dsl::now.into_sql::<Timestamptz>()).get_result(&mut &*conn).await
}

async fn applied(conn: &AsyncPgConnection) -> QueryResult<HashSet<String>> {
    #[derive(QueryableByName)]
    struct Exists {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        exists: bool,
    }
    let ask = "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS exists";
    if !diesel::sql_query(ask).get_result::<Exists>(&mut &*conn).await?.exists {
        return Ok(HashSet::new());
    }
    let ask = "SELECT coalesce(array_agg(version::text), '{}') AS versions FROM __diesel_schema_migrations";
    let applied: Applied = diesel::sql_query(ask).get_result(&mut &*conn).await?;
    Ok(applied.versions.into_iter().collect())
}
