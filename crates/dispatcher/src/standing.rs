//! How endpoints stand: what attempts have shown of them is noted where the whole fleet sees it, and one that is gone, or
//! has done nothing but fail for days, is disabled, and its account told.
//!
//! What was leased before an endpoint was changed says nothing of it afterwards: else a person who enables it, or moves it,
//! would be overruled by what was under way.
//!
//! All of this is an economy, and none of it is needed for a delivery to be kept: what cannot be noted now is shown again by
//! the next attempt.

use std::{collections::BTreeMap, time::Duration};

use database::{
    Connection, QueryError, endpoints,
    gates::{self, Shown, Standing, Turned},
};
use diesel_async::AsyncConnection;
use vocabulary::EndpointId;

use crate::{
    counters::Counters,
    notice,
    outcome::{Cause, Outcome},
    recorder::Ended,
};

/// What followed for endpoints.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// To be left alone now.
    pub(crate) left_alone: Vec<EndpointId>,
    /// Disabled just now, and why.
    pub(crate) disabled: BTreeMap<EndpointId, String>,
}

/// Notes what a batch of attempts has shown, and draws the consequences.
pub(crate) async fn note(
    conn: &mut Connection,
    ended: &[Ended],
    disable_after: Duration,
    counters: &Counters,
) -> Result<Followed, QueryError> {
    let (mut followed, mut hopeless) = (Followed::default(), BTreeMap::new());
    let shown = shown(ended);
    if !shown.is_empty() {
        for Standing { endpoint_id, revision, rests, turned, failing_for } in gates::note(conn, &shown).await? {
            counters.circuits_opened.add(usize::from(turned == Some(Turned::Open)));
            counters.circuits_closed.add(usize::from(turned == Some(Turned::Closed)));
            if failing_for >= disable_after {
                let reason = format!("every attempt has failed for {}", in_words(failing_for));
                hopeless.insert((endpoint_id.clone(), revision), reason);
            }
            followed.left_alone.extend(rests.then_some(endpoint_id));
        }
    }
    let gone = ended.iter().filter(|ended| ended.outcome.is_gone());
    hopeless.extend(gone.map(|ended| (ended.of_which(), "it answered 410: gone".to_owned())));
    for ((endpoint_id, revision), reason) in hopeless {
        if disable(conn, &endpoint_id, revision, &reason).await? {
            counters.endpoints_disabled.add(1);
            followed.left_alone.push(endpoint_id.clone());
            followed.disabled.insert(endpoint_id, reason);
        }
    }
    Ok(followed)
}

/// In hours, or what is less in minutes.
fn in_words(span: Duration) -> String {
    let minutes = span.as_secs() / 60;
    if minutes < 60 { format!("{minutes} minutes") } else { format!("{} hours", minutes / 60) }
}

/// Whether a batch may show anything that is to be noted.
pub(crate) fn is_news(ended: &[Ended]) -> bool {
    ended.iter().any(|ended| ended.outcome != Outcome::Delivered || ended.is_known_to_fail())
}

impl Ended {
    /// Which endpoint it is of, and as which revision of that it was leased.
    fn of_which(&self) -> (EndpointId, i64) {
        (self.recorded.endpoint_id.clone(), self.target.revision)
    }

    fn is_known_to_fail(&self) -> bool {
        self.gate.is_some_and(|gate| gate.has_failed)
    }

    /// Whether the head of a lane has failed again. That says only that its lane is stuck: with some dozens of those the circuit
    /// would open again and again, and hold up all other lanes. What a person has made due has not failed since: else an endpoint
    /// that is enabled and still fails would have failures, and none to begin with.
    fn is_stuck(&self) -> bool {
        self.outcome != Outcome::Delivered && self.recorded.lane.is_some() && self.failed_before
    }

    /// Whether it is a failure that speaks against the endpoint by itself.
    fn speaks_against_it(&self) -> bool {
        self.outcome != Outcome::Delivered && !self.is_stuck()
    }

    /// What does not open, or cannot be carried, says nothing of the endpoint: nobody has asked it.
    fn is_our_fault(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(Cause::Secret | Cause::Access))
    }
}

/// What is news of each endpoint, at each revision of it: one that succeeds, and is not known to fail, is none.
fn shown(ended: &[Ended]) -> Vec<Shown> {
    let mut by_endpoint: BTreeMap<(EndpointId, i64), (Shown, bool)> = BTreeMap::new();
    for ended in ended.iter().filter(|ended| !ended.is_our_fault()) {
        let (endpoint_id, revision) = ended.of_which();
        let (failures, failed_again, rest) = (0, 0, Duration::ZERO);
        let nothing = Shown { endpoint_id, revision, succeeded: false, failures, failed_again, probed: false, rest };
        let (shown, is_known) = by_endpoint.entry(ended.of_which()).or_insert((nothing, false));
        let succeeded = ended.outcome == Outcome::Delivered;
        shown.succeeded |= succeeded;
        shown.failures += i32::from(ended.speaks_against_it());
        shown.failed_again += i32::from(ended.is_stuck());
        shown.probed |= !succeeded && ended.gate.is_some_and(|gate| gate.is_probe);
        shown.rest = shown.rest.max(ended.outcome.rest());
        *is_known |= ended.is_known_to_fail();
    }
    let is_news = |(shown, is_known): &(Shown, bool)| *is_known || !shown.succeeded || !shown.rest.is_zero();
    by_endpoint.into_values().filter(is_news).map(|(shown, _)| shown).collect()
}

/// Disables an endpoint that is enabled and unchanged still, and tells its account: together, so that nobody is cut off unheard. Says whether it was so.
async fn disable(
    conn: &mut Connection,
    endpoint_id: &EndpointId,
    revision: i64,
    reason: &str,
) -> Result<bool, QueryError> {
    conn.transaction(async |conn| {
        let Some(account) = endpoints::disable(conn, endpoint_id, revision, reason).await? else { return Ok(false) };
        let told = notice::tell_disabled(conn, &account, endpoint_id, reason).await?;
        endpoints::set_told(conn, endpoint_id, told).await?;
        Ok(true)
    })
    .await
}
