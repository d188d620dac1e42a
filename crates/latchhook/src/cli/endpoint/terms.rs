//! The terms of an endpoint, as `endpoint add` is told them.

use std::{ops::RangeInclusive, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use database::{AsyncPgConnection, sources};
use dispatcher::notice::ENDPOINT_DISABLED;
use providers::Provider;
use vocabulary::{AccountId, EventTypes, Format, OrderedBy, SourceId, Terms};

use super::filter::GivenFilter;
/// Attempts that fail are recorded one by one; nobody is told of an event a year later.
const PAUSES: RangeInclusive<usize> = 1..=50;
const PAUSE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);

/// What an endpoint asks for.
#[derive(Debug, Args)]
pub(super) struct WantedTerms {
    /// What it wants to hear of: event types with commas, message_* for all that begin so, or * for all
    #[arg(long, value_name = "E", value_parser = event_types)]
    events: EventTypes,
    /// Only what these sources hear, with commas; all of the account's if not given
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    sources: Vec<SourceId>,
    #[command(flatten)]
    filter: GivenFilter,
    /// Which body it is told: full, or thin (ids only)
    #[arg(long, value_name = "F", default_value = "full")]
    format: Format,
    /// The pauses between attempts, with commas: 5s,5m,30m,2h; none for a single attempt. What `run` is told by
    /// --retry-after if not given: Standard Webhooks' schedule
    #[arg(long, value_name = "PAUSES", value_parser = pauses)]
    schedule: Option<Pauses>,
    /// Requests at the same time, of the whole fleet, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_in_flight: Option<u32>,
    /// Requests per second, of the whole fleet, at most; 0.1 is one in ten seconds
    #[arg(long, value_name = "R", value_parser = rate)]
    max_per_second: Option<f64>,
    /// In order, one after the other: by source, or by sender
    #[arg(long, value_name = "WHAT")]
    ordered_by: Option<OrderedBy>,
}

impl WantedTerms {
    /// The terms, of an endpoint of this account.
    ///
    /// # Errors
    /// When a source is not there, or is another account's: it would be heard of never, and nothing would say so.
    pub(super) async fn read(self, conn: &AsyncPgConnection, account: &AccountId) -> anyhow::Result<Terms> {
        let known = sources::list(conn).await?;
        for id in &self.sources {
            let is_there = known.iter().any(|known| known.id == id.as_str() && known.account_id == account.as_str());
            ensure!(is_there, "there is no source {id} of account {account}: latchhook source list names them");
        }
        Ok(Terms {
            event_types: self.events,
            sources: (!self.sources.is_empty()).then_some(self.sources),
            filter: self.filter.read()?,
            format: self.format,
            schedule: self.schedule.map(|Pauses(pauses)| pauses),
            max_in_flight: self.max_in_flight,
            max_per_second: self.max_per_second,
            ordered_by: self.ordered_by,
        })
    }
}

/// The pauses of a schedule: a type of its own, because clap takes a list for several arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pauses(Vec<Duration>);

fn pauses(text: &str) -> anyhow::Result<Pauses> {
    if text == "none" {
        return Ok(Pauses(Vec::new()));
    }
    let pauses: Vec<_> = text.split(',').map(|pause| self::pause(pause.trim())).collect::<Result<_, _>>()?;
    ensure!(PAUSES.contains(&pauses.len()), "a schedule has 1 to 50 pauses, not {}", pauses.len());
    Ok(Pauses(pauses))
}

fn pause(text: &str) -> anyhow::Result<Duration> {
    let advice = "the pauses of a schedule are times with commas (5s,5m,2h), or none for a single attempt";
    let pause = humantime::parse_duration(text).with_context(|| format!("{text:?} is no time: {advice}"))?;
    let is_whole = pause.subsec_nanos() == 0;
    ensure!(is_whole && PAUSE.contains(&pause), "a pause is from 1s to 7d, in whole seconds, and not {text}");
    Ok(pause)
}

/// Requests per second.
pub(in crate::cli) fn rate(text: &str) -> anyhow::Result<f64> {
    let rate: f64 = text.parse()?;
    ensure!((0.001..=100_000.0).contains(&rate), "a rate is from 0.001 to 100000 requests a second");
    Ok(rate)
}

/// A name that no event ever has would be heard of never, and nothing would say so.
fn event_types(text: &str) -> anyhow::Result<EventTypes> {
    let types: EventTypes = text.parse()?;
    if let Some(unknown) = types.names().iter().find(|name| !is_known(name)) {
        let notices: Vec<_> = Provider::ALL.iter().map(|provider| format!("{provider}.KIND")).collect();
        let notices = notices.join(", ");
        let known = KNOWN.join(", ");
        bail!("there is no event type {unknown}: there are {known}, {notices}, and * for all");
    }
    Ok(types)
}

/// What is told whichever provider it comes from.
const KNOWN: [&str; 3] = ["message_created", "message_updated", ENDPOINT_DISABLED];

/// Which kinds a provider has is for the provider to say: any of them may come.
fn is_known(name: &str) -> bool {
    let mut providers = Provider::ALL.iter().map(|provider| format!("{provider}."));
    match name.strip_suffix('*') {
        Some(start) => KNOWN.iter().any(|known| known.starts_with(start)) || providers.any(|of| may_share(&of, start)),
        None => KNOWN.contains(&name) || providers.any(|of| name.len() > of.len() && name.starts_with(&of)),
    }
}

fn may_share(one: &str, other: &str) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_one_to_fifty_pauses_of_a_second_to_a_week_or_none() {
        let seconds =
            |text| pauses(text).map(|Pauses(pauses)| pauses.iter().map(Duration::as_secs).collect::<Vec<_>>());

        assert_eq!(seconds("5s, 5m,7d").unwrap(), [5, 300, 604_800]);
        assert_eq!(seconds("none").unwrap(), [0; 0]);
        assert_eq!(seconds(&vec!["1s"; 50].join(",")).unwrap(), [1; 50]);
    }

    #[test]
    fn any_other_schedule_is_refused_with_what_is_wrong() {
        let refused = |text: &str| pauses(text).unwrap_err().to_string();

        assert!(refused(&vec!["1s"; 51].join(",")).contains("1 to 50 pauses, not 51"));
        for pause in ["0s", "999ms", "1500ms", "8d", "604801s"] {
            assert!(
                refused(&format!("5s,{pause}")).contains(&format!("from 1s to 7d, in whole seconds, and not {pause}"))
            );
        }
        for text in ["", "5", "5s,", "5s;5m", "soon", "5s,none", "-5s"] {
            assert!(refused(text).contains("is no time"), "{text}");
        }
    }
}
