//! Leases under which nothing was sent: they are given back, so that others need not wait for them to end.

use std::time::Duration;

use database::{
    Database,
    due::{self, Leased},
};
use tracing::warn;

use crate::{error::DispatchError, in_flight::Permit};

/// Gives leases back: due again after a pause.
///
/// # Errors
/// When Postgres cannot be asked: then they end by themselves.
pub(crate) async fn release<B>(
    database: &Database,
    unsent: &[Leased<B>],
    pause: Duration,
) -> Result<(), DispatchError> {
    if unsent.is_empty() {
        return Ok(());
    }
    let connection = database.connection().await?;
    due::release(&connection, unsent, pause).await.map_err(DispatchError::GiveBack)
}

/// Likewise, for whoever goes on anyhow: what is not given back ends by itself.
pub(crate) async fn give_back<B>(database: &Database, unsent: &[Leased<B>], pause: Duration) {
    if let Err(failed) = release(database, unsent, pause).await {
        warn!(error = &failed as &dyn std::error::Error, "{} leases are waited for to end", unsent.len());
    }
}

/// Likewise, with the permits for them: these are kept until then, so that what is put off counts as not over.
pub(crate) async fn put_off<B>(
    database: &Database,
    unsent: impl IntoIterator<Item = (Leased<B>, Permit)>,
    pause: Duration,
) {
    let (leased, permits): (Vec<_>, Vec<_>) = unsent.into_iter().unzip();
    give_back(database, &leased, pause).await;
    drop(permits);
}
