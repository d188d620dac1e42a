//! Whether an endpoint is sent to, who has decided that, and whether anybody was told.
//!
//! ```text
//!            ┌──▶ disabled by latchhook ──┐ `disabled_told` says how many have heard of it
//!  enabled ──┤            │               ├──▶ enabled, by a person
//!            │            ▼ by a person   │
//!            └──▶ disabled by a person ───┘ `disabled_told` is null
//! ```

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use vocabulary::{AccountId, EndpointId, IdError};

use crate::{QueryError, QueryResult, due, gates, schema::endpoints};

/// Enables an endpoint, whatever it had shown before. What it is owed is due at once if [`due::catch_up`] went over it before;
/// what came since is made due here, a chunk of it at most. Says whether there is one of that id.
///
/// # Errors
/// As any query. To be called in a transaction.
pub async fn enable(conn: &AsyncPgConnection, id: &EndpointId) -> QueryResult<bool> {
    let changed = diesel::update(endpoints::table.find(id.as_str()))
        .set((
            endpoints::enabled.eq(true),
            endpoints::disabled_reason.eq(None::<&str>),
            endpoints::disabled_told.eq(None::<i32>),
            endpoints::revision.eq(crate::sequences::next_revision()),
        ))
        .execute(&mut &*conn)
        .await?;
    if changed == 0 {
        return Ok(false);
    }
    gates::lift(conn, id).await?;
    due::catch_up_first(conn, id).await?;
    Ok(true)
}

/// Disables an endpoint on a person's word. One that latchhook has disabled is a person's from then on: it replaces that reason,
/// and nobody need be told any more. One that a person has disabled keeps the reason that it has. Says whether anything
/// changed.
///
/// # Errors
/// As any query.
pub async fn disable_by_hand(conn: &AsyncPgConnection, id: &EndpointId, reason: &str) -> QueryResult<bool> {
    let is_no_persons = endpoints::enabled.or(endpoints::disabled_told.is_not_null());
    let changed = diesel::update(endpoints::table.find(id.as_str()).filter(is_no_persons))
        .set((
            endpoints::enabled.eq(false),
            endpoints::disabled_reason.eq(reason),
            endpoints::disabled_told.eq(None::<i32>),
            endpoints::revision.eq(crate::sequences::next_revision()),
        ))
        .execute(&mut &*conn)
        .await?;
    Ok(changed == 1)
}

/// Disables an endpoint that is enabled, for a reason that latchhook has found at this revision of it: one that was changed
/// since, so that it is somewhere else or enabled again, stays as it is. Gives its account, or `None` where there is no such
/// endpoint.
///
/// # Errors
/// As any query.
pub async fn disable(
    conn: &AsyncPgConnection,
    id: &EndpointId,
    revision: i64,
    reason: &str,
) -> QueryResult<Option<AccountId>> {
    let unchanged = endpoints::table.find(id.as_str()).filter(endpoints::revision.eq(revision));
    let enabled = unchanged.filter(endpoints::enabled);
    let account: Option<String> = diesel::update(enabled)
        .set((
            endpoints::enabled.eq(false),
            endpoints::disabled_reason.eq(reason),
            endpoints::revision.eq(crate::sequences::next_revision()),
        ))
        .returning(endpoints::account_id)
        .get_result(&mut &*conn)
        .await
        .optional()?;
    let read = |id: String| id.parse().map_err(|error: IdError| QueryError::DeserializationError(error.into()));
    account.map(read).transpose()
}

/// Notes of an endpoint that latchhook has disabled by itself how many others of its account are told so.
///
/// # Errors
/// As any query.
pub async fn set_told(conn: &AsyncPgConnection, id: &EndpointId, told: usize) -> QueryResult<()> {
    let told = endpoints::disabled_told.eq(i32::try_from(told).unwrap_or(i32::MAX));
    diesel::update(endpoints::table.find(id.as_str())).set(told).execute(&mut &*conn).await.map(drop)
}

/// The endpoints that latchhook has disabled by itself, and nobody was told: with the reason, by id.
///
/// # Errors
/// As any query.
pub async fn disabled_unheard(conn: &AsyncPgConnection) -> QueryResult<Vec<(String, String)>> {
    let reason = endpoints::disabled_reason.assume_not_null();
    let unheard =
        endpoints::table.filter(endpoints::disabled_told.eq(0)).filter(endpoints::disabled_reason.is_not_null());
    unheard.order(endpoints::id).select((endpoints::id, reason)).load(&mut &*conn).await
}
