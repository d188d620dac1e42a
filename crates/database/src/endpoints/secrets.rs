//! What is sealed in `endpoints`: the secrets that sign, with their ends, and what else requests carry.
//!
//! ```text
//!   rotate ──▶ signs ──rotate (the overlap)──▶ signs until its end ──▶ ended ──rotate──▶ gone
//! ```
//! Whoever changes them locks the row first: of two rotations at once neither loses the other's secret.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use vocabulary::{EndpointId, MasterKey};

use super::{open_secrets, place};
use crate::{
    QueryError, QueryResult,
    error::{OpenError, open_text},
    schema::endpoints,
    sealed::SealedRow,
};

/// Secrets of one endpoint that may sign at once. Each makes the header longer, and a customer's server may refuse long ones.
pub const MOST: usize = 10;

/// As [`SealedRow`] reads them.
const SEALED: (endpoints::id, endpoints::secrets, endpoints::access) =
    (endpoints::id, endpoints::secrets, endpoints::access);

/// A secret of an endpoint, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// See [`super::open_secrets`].
    pub sealed: Vec<u8>,
    /// When it stops signing; `None` is never.
    pub ends: Option<DateTime<Utc>>,
}

/// A new secret, and what becomes of the others.
#[derive(Debug)]
pub struct Rotation<'a> {
    /// What signs from now on. If it is there already, it stays, without an end.
    pub secret: &'a SecretString,
    /// When the others end that would not end sooner.
    pub others_end: DateTime<Utc>,
    /// What has ended by then is dropped.
    pub now: DateTime<Utc>,
}

/// Why secrets were not rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// A query failed, or a secret did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no room for another one.
    #[error(
        "it has {MOST} secrets that still sign, and no more may: wait until one ends (the first at {0}), or end them all \
         now (--overlap 0s)"
    )]
    TooMany(DateTime<Utc>),
}

impl From<QueryError> for RotateError {
    fn from(error: QueryError) -> Self {
        Self::Open(error.into())
    }
}

/// An endpoint's secrets, the oldest first.
///
/// # Errors
/// As any query.
pub async fn list(conn: &AsyncPgConnection, id: &EndpointId) -> QueryResult<Vec<Kept>> {
    let row = endpoints::table.find(id.as_str()).select((endpoints::secrets, endpoints::secret_ends));
    Ok(kept(row.first(&mut &*conn).await?))
}

/// Of secrets that stand in the order of an endpoint's, those that sign at `now`: a secret has ended from its end on, and one
/// of which no end is known never ends.
pub fn in_force<T>(
    secrets: impl IntoIterator<Item = T>,
    ends: &[Option<DateTime<Utc>>],
    now: DateTime<Utc>,
) -> impl Iterator<Item = T> {
    let ends = ends.iter().copied().chain(std::iter::repeat(None));
    secrets.into_iter().zip(ends).filter(move |(_, ends)| ends.is_none_or(|ends| now < ends)).map(|(secret, _)| secret)
}

/// The secrets of an endpoint that sign at `now`; `None` where there is no such endpoint.
///
/// # Errors
/// As any query, or when a secret does not open.
pub async fn signing(
    conn: &AsyncPgConnection,
    master: &MasterKey,
    id: &EndpointId,
    now: DateTime<Utc>,
) -> Result<Option<Vec<SecretString>>, OpenError> {
    type Row = (Vec<Vec<u8>>, Vec<Option<DateTime<Utc>>>);
    let query = endpoints::table.find(id.as_str()).select((endpoints::secrets, endpoints::secret_ends));
    let row: Option<Row> = query.first(&mut &*conn).await.optional()?;
    let Some((sealed, ends)) = row else { return Ok(None) };
    open_secrets(master, id.as_str(), &in_force(sealed, &ends, now).collect::<Vec<_>>()).map(Some)
}

/// Gives an endpoint a new secret. Locks the row, so it belongs in a transaction. Says how many secrets it has now.
///
/// # Errors
/// As any query; when there are too many, or one that goes on signing does not open.
pub async fn rotate(
    conn: &AsyncPgConnection,
    master: &MasterKey,
    id: &EndpointId,
    rotation: &Rotation<'_>,
) -> Result<usize, RotateError> {
    let row = endpoints::table.find(id.as_str()).select((endpoints::secrets, endpoints::secret_ends));
    let there = kept(row.for_no_key_update().first(&mut &*conn).await?);
    let mut secrets = others(there, master, id, rotation)?;
    if let Some(first) = secrets.iter().filter_map(|secret| secret.ends).min().filter(|_| secrets.len() >= MOST) {
        return Err(RotateError::TooMany(first));
    }
    let plain = rotation.secret.expose_secret().as_bytes();
    secrets.push(Kept { sealed: master.seal(&place(id.as_str()), plain), ends: None });
    let (sealed, ends): (Vec<_>, Vec<_>) = secrets.into_iter().map(|secret| (secret.sealed, secret.ends)).unzip();
    diesel::update(endpoints::table.find(id.as_str()))
        .set((
            endpoints::secrets.eq(&sealed),
            endpoints::secret_ends.eq(&ends),
            endpoints::revision.eq(crate::sequences::next_revision()),
        ))
        .execute(&mut &*conn)
        .await?;
    Ok(sealed.len())
}

/// What is left beside the new secret. One that is dropped need not open: so an endpoint gets well whose secrets are sealed
/// under a key that is lost.
fn others(
    there: Vec<Kept>,
    master: &MasterKey,
    id: &EndpointId,
    rotation: &Rotation<'_>,
) -> Result<Vec<Kept>, OpenError> {
    let (place, new) = (place(id.as_str()), rotation.secret.expose_secret());
    let mut others = Vec::new();
    for secret in there {
        let ends = secret.ends.map_or(rotation.others_end, |ends| ends.min(rotation.others_end));
        if ends > rotation.now && open_text(master, &place, &secret.sealed)?.expose_secret() != new {
            others.push(Kept { ends: Some(ends), ..secret });
        }
    }
    Ok(others)
}

fn kept((secrets, ends): (Vec<Vec<u8>>, Vec<Option<DateTime<Utc>>>)) -> Vec<Kept> {
    let ends = ends.into_iter().chain(std::iter::repeat(None));
    secrets.into_iter().zip(ends).map(|(sealed, ends)| Kept { sealed, ends }).collect()
}

/// All endpoints, with everything that is sealed in them.
///
/// # Errors
/// As any query.
pub async fn sealed(conn: &AsyncPgConnection) -> QueryResult<Vec<SealedRow>> {
    endpoints::table.order(endpoints::id).select(SEALED).load(&mut &*conn).await
}

/// Who waits for a master key that is not named: such endpoints, with how many deliveries each is owed, where it is owed any.
///
/// # Errors
/// As any query.
pub async fn waiting_for_a_key(conn: &AsyncPgConnection, master: &MasterKey) -> QueryResult<Vec<(String, i64)>> {
    let mut waiting = Vec::new();
    for row in sealed(conn).await?.into_iter().filter(|row| row.lacks_key_of(master)) {
        let owed = crate::due::owed_to(conn, &row.id).await?.deliveries();
        waiting.extend((owed > 0).then_some((row.id, owed)));
    }
    Ok(waiting)
}

/// Seals anew what an endpoint has under an old master key. Locks the row, so it belongs in a transaction. Says whether
/// there was anything.
///
/// # Errors
/// As any query, or when something does not open.
pub async fn reseal(conn: &AsyncPgConnection, master: &MasterKey, id: &str) -> Result<bool, OpenError> {
    let there: SealedRow = endpoints::table.find(id).select(SEALED).for_no_key_update().first(&mut &*conn).await?;
    let Some(anew) = there.reseal(master, &place(id))? else { return Ok(false) };
    diesel::update(endpoints::table.find(id))
        .set((
            endpoints::secrets.eq(anew.secrets),
            endpoints::access.eq(anew.other),
            endpoints::revision.eq(crate::sequences::next_revision()),
        ))
        .execute(&mut &*conn)
        .await?;
    Ok(true)
}
