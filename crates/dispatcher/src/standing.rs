//! How endpoints stand: what attempts have shown of them is noted where the whole fleet sees it, and one that is gone, or
//! has done nothing but fail for days, is disabled, and its account told.
//!
//! All of this is an economy, and none of it is needed for a delivery to be kept: what cannot be noted now is shown again by
//! the next attempt.

use std::{collections::BTreeMap, time::Duration};

use database::{
    Connection, QueryError, endpoints,
    gates::{self, Resting, Shown},
};
use diesel_async::AsyncConnection;
use vocabulary::EndpointId;

use crate::{notice, outcome::Outcome, recorder::Ended};

/// What followed for endpoints.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// To be left alone now.
    pub(crate) resting: Vec<EndpointId>,
    /// Disabled, and why.
    pub(crate) disabled: Vec<(EndpointId, String)>,
}

/// Notes what a batch of attempts has shown, and draws the consequences.
pub(crate) async fn note(
    conn: &mut Connection,
    ended: &[Ended],
    disable_after: Duration,
) -> Result<Followed, QueryError> {
    let mut followed = Followed::default();
    let shown = shown(ended);
    if !shown.is_empty() {
        for Resting { endpoint_id, failing_for } in gates::note(conn, &shown).await? {
            if failing_for >= disable_after {
                let reason = format!("every attempt has failed for {} hours", failing_for.as_secs() / 3600);
                followed.disabled.push((endpoint_id.clone(), reason));
            }
            followed.resting.push(endpoint_id);
        }
    }
    for ended in ended.iter().filter(|ended| ended.outcome.is_gone()) {
        let reason = "it answered 410: gone".to_owned();
        followed.disabled.push((ended.recorded.endpoint_id.clone(), reason));
    }
    for (endpoint_id, reason) in &followed.disabled {
        disable(conn, endpoint_id, reason).await?;
    }
    Ok(followed)
}

/// Whether a batch shows anything that is to be noted.
pub(crate) fn is_news(ended: &[Ended]) -> bool {
    ended.iter().any(|ended| ended.has_gate || ended.outcome != Outcome::Delivered)
}

/// Only what the gates do not know yet: an endpoint that succeeds and has none is not heard of there.
fn shown(ended: &[Ended]) -> Vec<Shown> {
    let mut by_endpoint: BTreeMap<&EndpointId, (Shown, bool)> = BTreeMap::new();
    for Ended { recorded, outcome, has_gate, .. } in ended {
        let endpoint_id = recorded.endpoint_id.clone();
        let nothing = Shown { endpoint_id, succeeded: false, failures: 0, rest: Duration::ZERO };
        let (shown, gated) = by_endpoint.entry(&recorded.endpoint_id).or_insert((nothing, false));
        let succeeded = *outcome == Outcome::Delivered;
        shown.succeeded |= succeeded;
        shown.failures += i32::from(!succeeded);
        shown.rest = shown.rest.max(outcome.rest());
        *gated |= has_gate;
    }
    let is_known = |(shown, gated): &(Shown, bool)| !gated && shown.succeeded && shown.rest.is_zero();
    by_endpoint.into_values().filter(|known| !is_known(known)).map(|(shown, _)| shown).collect()
}

/// Disables an endpoint that is enabled still, and tells its account: together, so that nobody is cut off unheard.
async fn disable(conn: &mut Connection, endpoint_id: &EndpointId, reason: &str) -> Result<(), QueryError> {
    conn.transaction(async |conn| {
        let Some(account) = endpoints::disable(conn, endpoint_id, reason).await? else { return Ok(()) };
        notice::tell_disabled(conn, &account, endpoint_id, reason).await
    })
    .await
}
