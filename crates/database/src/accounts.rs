//! `accounts`: tenants. Nothing crosses them.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use vocabulary::AccountId;

use crate::{QueryResult, schema::accounts};

/// A tenant as it is kept.
#[derive(Debug, Clone, Queryable, Selectable)]
pub struct Account {
    /// Its name in URLs and commands.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// When it was added.
    pub created_at: DateTime<Utc>,
}

/// Adds a tenant, or renames the one of that id: setting up twice has the same result.
///
/// # Errors
/// As any query.
pub async fn put(conn: &AsyncPgConnection, id: &AccountId, name: &str) -> QueryResult<()> {
    diesel::insert_into(accounts::table)
        .values((accounts::id.eq(id.as_str()), accounts::name.eq(name)))
        .on_conflict(accounts::id)
        .do_update()
        .set(accounts::name.eq(name))
        .execute(&mut &*conn)
        .await
        .map(drop)
}

/// All of them, by id.
///
/// # Errors
/// As any query.
pub async fn list(conn: &AsyncPgConnection) -> QueryResult<Vec<Account>> {
    accounts::table.order(accounts::id).select(Account::as_select()).load(&mut &*conn).await
}
