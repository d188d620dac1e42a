//! The tokens of a source: an app that enqueues over HTTP shows one in place of a provider's signature.
//!
//! ```text
//! none ──first──▶ one ──rotate──▶ two: the new one, and the one that was the newest ──rotate──▶ …
//!   ▲              └──────────┬────┘
//!   └────────revoke───────────┘
//! ```

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use vocabulary::{SourceId, TokenHash};

use crate::{QueryResult, schema::sources};

/// What becomes of the tokens that a source has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This one, where there is none.
    First(TokenHash),
    /// This one, beside the newest of those that there are; the others end.
    Rotate(TokenHash),
    /// All end.
    Revoke,
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// The source has so many tokens now.
    To(usize),
    /// It has one already, and this was to be the first.
    HasOne,
    /// There is no source of that id.
    NoSource,
}

/// Changes them. Locks the row, so it belongs in a transaction: of two that rotate at the same time neither loses its token.
///
/// # Errors
/// As any query.
pub async fn change(conn: &AsyncPgConnection, id: &SourceId, change: &Change) -> QueryResult<Changed> {
    let row = sources::table.find(id.as_str());
    let there = row.select(sources::tokens).for_no_key_update().first::<Vec<Vec<u8>>>(&mut &*conn).await.optional()?;
    let Some(there) = there else { return Ok(Changed::NoSource) };
    let tokens: Vec<Vec<u8>> = match change {
        Change::First(_) if !there.is_empty() => return Ok(Changed::HasOne),
        Change::First(token) | Change::Rotate(token) => {
            std::iter::once(token.as_slice().to_vec()).chain(there.into_iter().take(1)).collect()
        }
        Change::Revoke => Vec::new(),
    };
    diesel::update(row)
        .set((sources::tokens.eq(&tokens), sources::revision.eq(crate::sequences::next_revision())))
        .execute(&mut &*conn)
        .await?;
    Ok(Changed::To(tokens.len()))
}
