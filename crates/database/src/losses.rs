//! `losses`: raw events that Redis forgot before they were settled, and that a person has accepted as lost.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;

use crate::{QueryResult, schema::losses};

/// Numbers of one incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = losses)]
pub struct Loss {
    /// Who gave them.
    pub incarnation: String,
    /// The first of them.
    pub first: i64,
    /// The last of them; `None` where nobody knows how far they went.
    pub last: Option<i64>,
}

/// Everything that was ever accepted.
///
/// # Errors
/// As any query.
pub async fn list(conn: &AsyncPgConnection) -> QueryResult<Vec<Loss>> {
    losses::table.order((losses::incarnation, losses::first)).select(Loss::as_select()).load(&mut &*conn).await
}

/// Accepts some, on a person's word. What is accepted already stays as it is.
///
/// # Errors
/// As any query.
pub async fn accept(conn: &AsyncPgConnection, lost: &[Loss], actor: &str, reason: &str) -> QueryResult<usize> {
    let rows: Vec<_> =
        lost.iter().map(|loss| (loss.clone(), losses::actor.eq(actor), losses::reason.eq(reason))).collect();
    diesel::insert_into(losses::table).values(rows).on_conflict_do_nothing().execute(&mut &*conn).await
}
