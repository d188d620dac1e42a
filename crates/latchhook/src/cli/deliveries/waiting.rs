//! What deliveries that were made due wait for, as it is told: data for scripts, words for people.

use chrono::Utc;
use database::deliveries::{MadeDue, Resting};
use serde_json::{Value, json};

use super::super::{context::Context, schedule::moment};

/// Says to the person at the terminal what did not become due, of so many, and why not.
pub(in crate::cli) fn say_what_waits(context: &Context<'_>, wanted: usize, made_due: &MadeDue) {
    let being_sent = i64::try_from(wanted).unwrap_or(i64::MAX) - made_due.sum();
    let said = [
        (made_due.waiting_in_lane, "wait in their lanes: each is due once what is before it has ended"),
        (made_due.held, "are held: their endpoint is disabled; latchhook endpoint enable makes them due"),
        (being_sent, "were left alone: they are being sent at this moment, or have just ended"),
    ];
    for (count, what) in said.into_iter().filter(|(count, _)| *count > 0) {
        context.note(&format!("{count} of {wanted} {what}"));
    }
    for resting in made_due.gates.iter().filter(|resting| !is_over(resting)) {
        context.note(&format!("{} of {wanted} rest {}", resting.deliveries, until(resting)));
    }
}

/// Adds to what is printed how many wait for what, each of them in one place.
pub(in crate::cli) fn show(said: &mut Value, context: &Context<'_>, made_due: &MadeDue) {
    let MadeDue { due, waiting_in_lane, held, resting, gates } = made_due;
    for (name, count) in [("due", due), ("waiting_in_lane", waiting_in_lane), ("held", held), ("resting", resting)] {
        said[name] = json!(count);
    }
    let in_words = |resting: &Resting| {
        let rested = if is_over(resting) { "rested " } else { "" };
        format!("{} {rested}{}", resting.deliveries, until(resting))
    };
    said["gates"] = match context.out.is_json() {
        true => json!(gates),
        false => gates.iter().map(in_words).collect(),
    };
}

/// They were told to rest until a moment that has come: what has become of them since is not known here.
fn is_over(resting: &Resting) -> bool {
    resting.opens_at <= Utc::now()
}

fn until(Resting { gate, opens_at, .. }: &Resting) -> String {
    format!("until {} ({gate})", moment(*opens_at))
}
