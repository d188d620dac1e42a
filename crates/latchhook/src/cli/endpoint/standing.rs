//! How an endpoint stands, for whoever asks why it gets nothing: data for scripts, words for people.

use chrono::{DateTime, Utc};
use database::{
    AsyncPgConnection, QueryResult,
    endpoints::troubles::{self, Abandoned, Failure},
    gates::{self, GateRow},
};
use serde_json::{Value, json};
use vocabulary::EndpointId;

use super::super::{context::Context, schedule::moment};

/// What stands before an endpoint, and what has gone wrong with what it was owed.
pub(super) struct Standing {
    gate: Option<GateRow>,
    last_failure: Option<Failure>,
    abandoned: Abandoned,
}

impl Standing {
    /// As it is now.
    pub(super) async fn read(conn: &AsyncPgConnection, id: &EndpointId) -> QueryResult<Self> {
        Ok(Self {
            gate: gates::of(conn, id).await?,
            last_failure: troubles::last_failure(conn, id).await?,
            abandoned: troubles::abandoned(conn, id).await?,
        })
    }

    /// Adds it to what is shown of the endpoint.
    pub(super) fn show(&self, endpoint: &mut Value, context: &Context<'_>) {
        if context.out.is_json() {
            endpoint["gate"] = json!(self.gate);
            endpoint["last_failure"] = json!(self.last_failure);
            endpoint["abandoned"] = json!(self.abandoned.count);
            endpoint["abandoned_or_more"] = json!(self.abandoned.or_more);
        } else {
            endpoint["gate"] = json!(self.gate_in_words(context.now));
            endpoint["last_failure"] = json!(self.last_failure.as_ref().map(failure_in_words));
            endpoint["abandoned"] = json!(self.abandoned_in_words());
        }
    }

    /// What holds deliveries up now, or has failed and not succeeded since; nothing else.
    fn gate_in_words(&self, now: DateTime<Utc>) -> Option<String> {
        let gate = self.gate.as_ref()?;
        let parts = [self.failing(gate), circuit(gate, now), asked_for_rest(gate, now)];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn failing(&self, gate: &GateRow) -> Option<String> {
        let since = moment(gate.failing_since?);
        let last = self.last_failure.as_ref().map(|last| format!(", last: {}", cause(last))).unwrap_or_default();
        Some(format!("failing since {since}, {} in a row{last}", gate.failures))
    }

    fn abandoned_in_words(&self) -> String {
        let Abandoned { count, or_more } = self.abandoned;
        if or_more { format!("{count} or more") } else { count.to_string() }
    }
}

fn circuit(gate: &GateRow, now: DateTime<Utc>) -> Option<String> {
    let until = (gate.rests_until > now).then(|| moment(gate.rests_until));
    let word = match until {
        Some(until) if gate.is_probed => format!("circuit open, a probe is under way until {until} at the latest"),
        Some(until) => format!("circuit open until {until}, then a probe"),
        None => "circuit open, the next delivery is a probe".to_owned(),
    };
    gate.is_open.then_some(word)
}

fn asked_for_rest(gate: &GateRow, now: DateTime<Utc>) -> Option<String> {
    (gate.asked_until > now).then(|| format!("rests until {}, as it asked", moment(gate.asked_until)))
}

fn failure_in_words(failure: &Failure) -> String {
    format!("{} at {}", cause(failure), moment(failure.started_at))
}

/// As `deliveries summary` names it, with what was answered.
fn cause(failure: &Failure) -> String {
    let status = failure.http_status.map(|status| format!(" {status}"));
    failure.outcome.clone() + &status.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-26T12:00:00Z".parse().unwrap()
    }

    /// A gate that is there for limits alone.
    fn gate() -> GateRow {
        let (asked_until, rests_until) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
        GateRow { is_open: false, asked_until, rests_until, failures: 0, failing_since: None, is_probed: false }
    }

    fn failing() -> GateRow {
        GateRow { failures: 8, failing_since: Some(now() - TimeDelta::hours(3)), ..gate() }
    }

    fn words(gate: GateRow) -> Option<String> {
        let outcome = "status".to_owned();
        let last_failure = Some(Failure { outcome, http_status: Some(500), started_at: now() });
        let abandoned = Abandoned { count: 0, or_more: false };
        Standing { gate: Some(gate), last_failure, abandoned }.gate_in_words(now())
    }

    #[test]
    fn a_gate_that_holds_nothing_back_is_not_spoken_of_and_neither_is_what_is_past() {
        let past = now() - TimeDelta::seconds(1);

        assert_eq!(words(gate()), None);
        assert_eq!(words(GateRow { asked_until: past, rests_until: past, ..gate() }), None);
    }

    #[test]
    fn a_gate_says_since_when_its_endpoint_fails_how_often_and_why_and_until_when_it_rests() {
        let soon = now() + TimeDelta::seconds(40);
        let open = GateRow { is_open: true, failures: 12, ..failing() };
        let since = "failing since 2026-11-26T09:00:00Z";

        let said = [
            failing(),
            GateRow { rests_until: soon, ..open.clone() },
            GateRow { rests_until: soon, is_probed: true, ..open.clone() },
            GateRow { rests_until: now(), ..open },
            GateRow { asked_until: soon, ..gate() },
        ];
        let said = said.map(|gate| words(gate).unwrap());

        let twelve = format!("{since}, 12 in a row, last: status 500; circuit open");
        assert_eq!(said[0], format!("{since}, 8 in a row, last: status 500"));
        assert_eq!(said[1], format!("{twelve} until 2026-11-26T12:00:40Z, then a probe"));
        assert_eq!(said[2], format!("{twelve}, a probe is under way until 2026-11-26T12:00:40Z at the latest"));
        assert_eq!(said[3], format!("{twelve}, the next delivery is a probe"));
        assert_eq!(said[4], "rests until 2026-11-26T12:00:40Z, as it asked");
    }
}
