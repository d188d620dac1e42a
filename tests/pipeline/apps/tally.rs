//! What everybody has counted: the apps, the ledger, the customer.

use std::{collections::HashSet, fmt};

use super::{
    ruby::{DOORS, Said},
    scene::Scene,
};

/// In numbers of raw events, each of which holds one event.
#[derive(Debug)]
pub(super) struct Tally {
    apps: [Said; DOORS.len()],
    /// Rows of the ledger.
    pub(super) recorded: usize,
    /// Items that the ledger had already.
    pub(super) deduplicated: usize,
    /// Different ids that the customer was told.
    pub(super) delivered: usize,
    /// Events that the apps have sent and the customer, or the ledger, does not know.
    pub(super) missing: usize,
    /// Rows of the ledger, and requests to the customer, beyond the first of an event; and events that no app has sent.
    pub(super) twice: usize,
}

impl Tally {
    pub(super) async fn of(scene: &Scene, events: usize, apps: [Said; DOORS.len()]) -> Self {
        let heard = scene.customer.heard();
        let recorded = scene.pipeline.keys().await;
        let known: HashSet<&String> = recorded.iter().collect();
        let expected: HashSet<String> = (0..events).map(|number| format!("wamid.app-{number:07}")).collect();
        let missing = expected.iter().filter(|key| !(known.contains(key) && heard.keys.contains(*key))).count();
        let unexpected = known.iter().filter(|key| !expected.contains(**key)).count();
        let deduplicated = "SELECT (sum(items) - sum(committed) - sum(quarantined))::bigint FROM receipts";
        Self {
            apps,
            recorded: recorded.len(),
            deduplicated: usize::try_from(scene.pipeline.number(deduplicated).await).unwrap(),
            delivered: heard.ids.len(),
            missing,
            twice: recorded.len() - known.len() + heard.requests - heard.ids.len() + unexpected,
        }
    }

    pub(super) fn sent(&self) -> usize {
        self.apps.iter().map(|said| said.sent).sum()
    }

    pub(super) fn accepted(&self) -> usize {
        self.apps.iter().map(|said| said.accepted).sum()
    }

    pub(super) fn repeated(&self) -> usize {
        self.apps.iter().map(|said| said.repeated).sum()
    }

    pub(super) fn accepted_at(&self, door: &str) -> usize {
        DOORS.iter().zip(&self.apps).filter(|(name, _)| **name == door).map(|(_, said)| said.accepted).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>14} {:>9} {:>9} {:>9}", "door", "sent", "accepted", "repeated")?;
        for (door, Said { sent, accepted, repeated }) in DOORS.iter().zip(&self.apps) {
            writeln!(f, "{door:>14} {sent:>9} {accepted:>9} {repeated:>9}")?;
        }
        writeln!(f, "{:>14} {:>9} {:>9} {:>9}\n", "all", self.sent(), self.accepted(), self.repeated())?;
        let counts = [
            ("recorded", self.recorded),
            ("deduplicated", self.deduplicated),
            ("delivered", self.delivered),
            ("missing", self.missing),
            ("twice", self.twice),
        ];
        counts.iter().try_for_each(|(name, count)| writeln!(f, "{name:>14} {count:>9}"))
    }
}
