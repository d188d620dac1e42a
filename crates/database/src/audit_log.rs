//! `audit_log`: what people did by hand, only ever appended to. Written in the transaction that does what it says.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::{QueryResult, schema::audit_log};

/// Something that a person did.
#[derive(Debug, Clone, Copy, Insertable)]
#[diesel(table_name = audit_log)]
pub struct Deed<'a> {
    /// Who (`cli:alice`).
    pub actor: &'a str,
    /// What, as the command is called (`quarantine discard`).
    pub action: &'a str,
    /// To what: ids, as the command prints them.
    pub target: &'a str,
    /// Why, or whatever else the command was told.
    pub detail: &'a str,
}

/// Writes it down.
///
/// # Errors
/// As any query.
pub async fn record(conn: &AsyncPgConnection, deed: &Deed<'_>) -> QueryResult<()> {
    diesel::insert_into(audit_log::table).values(deed).execute(&mut &*conn).await.map(drop)
}
