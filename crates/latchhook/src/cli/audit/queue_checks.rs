//! What must be true of the queue and the claims: nothing lies where nobody works, nothing is held by the dead.

use std::{collections::HashSet, time::Duration};

use database::audit::{Finding, NAMED};
use queue::{ClaimSettings, Claims, HeldClaim, Inbound, Redis};
use vocabulary::Stamp;

use super::{numbers, ranges};

/// Somebody else has taken over from the dead by then.
const SILENCE: Duration = Duration::from_secs(300);
/// A claim that ends so soon is about to be nobody's, whoever held it.
const SOON: Duration = Duration::from_secs(5);
/// Longer than a claim command may take to reach a Redis that is alive.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Looks.
pub(super) async fn findings(redis: &Redis, inbound: &Inbound) -> anyhow::Result<[Finding; 3]> {
    Ok([lost(inbound).await?, workers(inbound).await?, claims(redis, inbound).await?])
}

async fn lost(inbound: &Inbound) -> anyhow::Result<Finding> {
    let depth = inbound.depth().await?;
    let counts = [("in the dead set", depth.dead), ("out of every worker's reach", depth.unreachable)];
    let mut offenders: Vec<String> =
        counts.iter().filter(|(_, jobs)| *jobs > 0).map(|(place, jobs)| format!("{jobs} {place}")).collect();
    if !offenders.is_empty() {
        offenders.extend(inbound.lost(NAMED).await?);
    }
    Ok(Finding {
        promise: 2,
        check: "no job is where nobody would work on it",
        breaches: depth.dead + depth.unreachable,
        offenders,
    })
}

async fn workers(inbound: &Inbound) -> anyhow::Result<Finding> {
    let dead = inbound.dead_workers(SILENCE).await?;
    Ok(Finding {
        promise: 2,
        check: "no worker that is silent for five minutes holds jobs",
        breaches: dead.len() as u64,
        offenders: dead.iter().take(NAMED).map(|worker| format!("{} holds {}", worker.name, worker.holds)).collect(),
    })
}

/// A claim whose raw event is no longer in the queue has an owner that will not come back for it: nobody renews, finishes
/// or releases it, and until it ends every duplicate of its key waits in vain.
///
/// Two looks, because a worker that has just settled a job may still be telling Redis that its claims are done.
async fn claims(redis: &Redis, inbound: &Inbound) -> anyhow::Result<Finding> {
    let claims = Claims::new(redis, ClaimSettings::default());
    let mut orphans = without_a_job(inbound, claims.held(SOON).await?).await?;
    if !orphans.is_empty() {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        let again = without_a_job(inbound, claims.held(SOON).await?).await?;
        orphans.retain(|first| again.iter().any(|again| is_unchanged(first, again)));
    }
    Ok(Finding {
        promise: 2,
        check: "no claim is held by an owner that is gone",
        breaches: orphans.len() as u64,
        offenders: orphans.iter().take(NAMED).map(told).collect(),
    })
}

/// Held by the same run, which has not renewed it.
fn is_unchanged(first: &HeldClaim, again: &HeldClaim) -> bool {
    (&first.key, &first.owner) == (&again.key, &again.owner) && again.left <= first.left
}

fn told(claim: &HeldClaim) -> String {
    let until = claim.left.map_or("for ever".to_owned(), |left| format!("for {} s more", left.as_secs()));
    format!("{} by {} {until}", claim.key, claim.owner)
}

async fn without_a_job(inbound: &Inbound, mut held: Vec<HeldClaim>) -> anyhow::Result<Vec<HeldClaim>> {
    if held.is_empty() {
        return Ok(held);
    }
    let pending = numbers::pending(inbound).await?;
    held.retain(|claim| !is_pending(&pending, claim.raw_event()));
    if !held.is_empty() {
        let unnumbered: HashSet<String> = inbound.pending_unnumbered().await?.iter().map(ToString::to_string).collect();
        held.retain(|claim| !unnumbered.contains(claim.raw_event()));
    }
    Ok(held)
}

fn is_pending(pending: &ranges::Numbers, raw_event: &str) -> bool {
    let Ok(Stamp { incarnation, number }) = raw_event.parse() else { return false };
    let ranges = pending.get(&incarnation);
    ranges.is_some_and(|ranges| ranges.iter().any(|(first, last)| (*first..=*last).contains(&number)))
}
