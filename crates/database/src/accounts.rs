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
    /// Ranges of addresses that its endpoints may be in although they are private.
    pub allowed_private: Vec<String>,
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

/// Gives an account these ranges of addresses, and no others; what has no range is sent to public addresses alone. Says whether
/// there is an account of that id.
///
/// # Errors
/// As any query; a check violation where one of them is no range, or there are more than 64.
pub async fn allow_private(conn: &AsyncPgConnection, id: &AccountId, ranges: &[String]) -> QueryResult<bool> {
    let changing = diesel::update(accounts::table.find(id.as_str())).set(accounts::allowed_private.eq(ranges));
    Ok(changing.execute(&mut &*conn).await? == 1)
}

/// One of them; `None` where there is none of that id.
///
/// # Errors
/// As any query.
pub async fn find(conn: &AsyncPgConnection, id: &AccountId) -> QueryResult<Option<Account>> {
    accounts::table.find(id.as_str()).select(Account::as_select()).first(&mut &*conn).await.optional()
}

/// All of them, by id.
///
/// # Errors
/// As any query.
pub async fn list(conn: &AsyncPgConnection) -> QueryResult<Vec<Account>> {
    accounts::table.order(accounts::id).select(Account::as_select()).load(&mut &*conn).await
}
