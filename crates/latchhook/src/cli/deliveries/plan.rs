//! Which deliveries a retry is about, and which it leaves out: what somebody gave up on purpose stays given up, unless it is
//! named by its reason.

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;
use database::{
    AsyncPgConnection,
    deliveries::{self, Cause, Reason, Wanted},
};
use serde_json::json;

use super::{
    super::{context::Context, schedule::readable, sentence},
    filter::State,
    look::{self, CAUSE},
};

/// So many reasons are named with how to take what was given up for them.
const NAMED: usize = 5;

/// Reads a reason as it is shown.
pub(super) fn shown(text: &str) -> anyhow::Result<String> {
    let text = text.trim();
    ensure!(!text.is_empty(), "--reason is empty: write one as latchhook deliveries summary shows it");
    sentence::must_be_a_line(deliveries::as_given(text))?;
    Ok(text.to_owned())
}

/// For which reasons what is wanted may have been given up. What is pending, or delivered, is not asked for any.
pub(super) fn reason(state: Option<State>, reasons: Vec<String>) -> anyhow::Result<Option<Reason>> {
    let is_abandoned = state.is_none_or(|state| state == State::Abandoned);
    ensure!(is_abandoned || reasons.is_empty(), "--reason is why something was abandoned: leave --state out");
    Ok(match reasons.is_empty() {
        false => Some(Reason::OneOf(reasons)),
        true => is_abandoned.then_some(Reason::None),
    })
}

/// What a retry of many would do.
pub(super) struct Plan {
    taken: Vec<Cause>,
    /// What fits but was given up on purpose.
    left_out: Vec<Cause>,
    /// Whether it is about what was.
    names_reason: bool,
}

impl Plan {
    /// Looks at what is wanted, and at what is left out of it.
    pub(super) async fn of(context: &Context<'_>, conn: &AsyncPgConnection, wanted: &Wanted) -> anyhow::Result<Self> {
        let leaves_out = wanted.reason == Some(Reason::None);
        let reason = wanted.reason.clone().filter(|_| !leaves_out);
        let causes = look::count(context, conn, &Wanted { reason, ..wanted.clone() }).await?;
        let is_left_out = |cause: &Cause| leaves_out && cause.abandoned_reason.is_some();
        let (left_out, taken) = causes.into_iter().partition(is_left_out);
        Ok(Self { taken, left_out, names_reason: matches!(wanted.reason, Some(Reason::OneOf(_))) })
    }

    /// How many are taken.
    pub(super) fn count(&self) -> u64 {
        look::sum(&self.taken)
    }

    /// Says what would be done, and how long that takes.
    pub(super) fn show(&self, context: &mut Context<'_>, rate: Option<f64>) -> anyhow::Result<()> {
        let count = self.count();
        let takes = rate.and_then(|rate| Duration::try_from_secs_f64(count as f64 / rate).ok());
        if context.out.is_json() {
            let takes_s = takes.map(|takes| takes.as_secs());
            let plan = json!({"wanted": count, "takes_s": takes_s, "causes": self.taken, "left_out": self.left_out});
            return context.out.json(&plan);
        }
        let takes = takes.map(|takes| format!(", which takes {}", readable(Duration::from_secs(takes.as_secs()))));
        context.note(&format!("would make {count} deliveries due{}", takes.unwrap_or_default()));
        context.out.list(&CAUSE, &self.taken)
    }

    /// Says to the person at the terminal how many are left out, and how to take them; and where a name was given that nothing
    /// has, perhaps misspelt.
    pub(super) fn say_what_is_left_out(&self, context: &Context<'_>) {
        if self.names_reason && self.taken.is_empty() {
            context
                .note("nothing that fits was given up for that reason: latchhook deliveries summary names the reasons");
        }
        let mut counts = BTreeMap::<&str, u64>::new();
        for cause in &self.left_out {
            let reason = cause.abandoned_reason.as_deref().map_or("", deliveries::as_given);
            *counts.entry(reason).or_default() += cause.count;
        }
        for (reason, count) in counts.iter().take(NAMED) {
            context.note(&format!(
                "{count} are left out: given up on purpose; to take them: --reason {}",
                in_quotes(reason)
            ));
        }
        let others: u64 = counts.values().skip(NAMED).sum();
        if others > 0 {
            context.note(&format!(
                "{others} more are left out, for other reasons: latchhook deliveries summary names them"
            ));
        }
    }
}

/// As a shell takes it for one word.
fn in_quotes(reason: &str) -> String {
    format!("'{}'", reason.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_quoted_so_that_a_shell_takes_it_for_one_word() {
        let quoted = ["their server is gone", "it's gone; $HOME"].map(in_quotes);

        assert_eq!(quoted, ["'their server is gone'", r"'it'\''s gone; $HOME'"]);
    }
}
