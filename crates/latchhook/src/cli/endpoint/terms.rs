//! The terms of an endpoint, as `endpoint add` and `set` are told them.

use std::{ops::RangeInclusive, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use database::{AsyncPgConnection, endpoints::Change, sources};
use dispatcher::notice::ENDPOINT_DISABLED;
use providers::Provider;
use vocabulary::{AccountId, EventTypes, Format, GiveUpOn, OrderedBy, SourceId, Terms};

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
    #[command(flatten)]
    given: GivenTerms,
}

/// The terms that an endpoint can do without.
#[derive(Debug, Args)]
pub(super) struct GivenTerms {
    /// Only what these sources hear, with commas; all of the account's if `add` is not given it
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    sources: Vec<SourceId>,
    #[command(flatten)]
    filter: GivenFilter,
    /// Which body it is told: full, or thin (ids only); full if `add` is not given it
    #[arg(long, value_name = "F")]
    format: Option<Format>,
    /// The pauses between attempts, with commas: 5s,5m,30m,2h; none for a single attempt. What `run` is told by
    /// --retry-after if `add` is not given it: Standard Webhooks' schedule
    #[arg(long, value_name = "PAUSES", value_parser = pauses)]
    schedule: Option<Pauses>,
    /// Statuses that are a last word, with commas: 400,404,422, or 4xx for all that can be one. A delivery that is answered
    /// so is given up at once, for a person to retry; after none of them if `add` is not given it
    #[arg(long, value_name = "STATUSES")]
    give_up_on: Option<GiveUpOn>,
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

/// Terms that change, and those that are taken away; what is not named stays.
#[derive(Debug, Args)]
pub(super) struct ChangedTerms {
    /// What it wants to hear of: event types with commas, message_* for all that begin so, or * for all
    #[arg(long, value_name = "E", value_parser = event_types)]
    events: Option<EventTypes>,
    #[command(flatten)]
    given: GivenTerms,
    /// What all of its account's sources hear
    #[arg(long, conflicts_with = "sources")]
    no_sources: bool,
    /// Whatever the body says
    #[arg(long, conflicts_with = "GivenFilter")]
    no_filter: bool,
    /// The schedule that `run` is told
    #[arg(long, conflicts_with = "schedule")]
    no_schedule: bool,
    /// Whatever is answered, it is tried again
    #[arg(long, conflicts_with = "give_up_on")]
    no_give_up_on: bool,
    /// As many requests at the same time as each dispatcher makes
    #[arg(long, conflicts_with = "max_in_flight")]
    no_max_in_flight: bool,
    /// As many requests per second as there are
    #[arg(long, conflicts_with = "max_per_second")]
    no_max_per_second: bool,
    /// In no order
    #[arg(long, conflicts_with = "ordered_by")]
    no_ordered_by: bool,
}

impl ChangedTerms {
    /// What changes, of an endpoint of this account.
    ///
    /// # Errors
    /// When a source is not there, or is another account's.
    pub(super) async fn read(self, conn: &AsyncPgConnection, account: &AccountId) -> anyhow::Result<Change> {
        let given = self.given;
        must_be_of(conn, &given.sources, account).await?;
        let sources = (!given.sources.is_empty()).then_some(given.sources);
        Ok(Change {
            url: None,
            event_types: self.events,
            sources: given_or_none(sources, self.no_sources),
            filter: given_or_none(given.filter.read()?, self.no_filter),
            format: given.format,
            schedule: given_or_none(given.schedule.map(|Pauses(pauses)| pauses), self.no_schedule),
            give_up_on: given_or_none(given.give_up_on, self.no_give_up_on),
            max_in_flight: given_or_none(given.max_in_flight, self.no_max_in_flight),
            max_per_second: given_or_none(given.max_per_second, self.no_max_per_second),
            ordered_by: given_or_none(given.ordered_by, self.no_ordered_by),
        })
    }
}

/// `None` is as it was, and `Some(None)` none any more.
#[expect(clippy::option_option, reason = "a change of what there may be none of has three forms")]
fn given_or_none<T>(given: Option<T>, is_removed: bool) -> Option<Option<T>> {
    if is_removed { Some(None) } else { given.map(Some) }
}

impl WantedTerms {
    /// The terms, of an endpoint of this account.
    ///
    /// # Errors
    /// When a source is not there, or is another account's.
    pub(super) async fn read(self, conn: &AsyncPgConnection, account: &AccountId) -> anyhow::Result<Terms> {
        let given = self.given;
        must_be_of(conn, &given.sources, account).await?;
        Ok(Terms {
            event_types: self.events,
            sources: (!given.sources.is_empty()).then_some(given.sources),
            filter: given.filter.read()?,
            format: given.format.unwrap_or_default(),
            schedule: given.schedule.map(|Pauses(pauses)| pauses),
            give_up_on: given.give_up_on,
            max_in_flight: given.max_in_flight,
            max_per_second: given.max_per_second,
            ordered_by: given.ordered_by,
        })
    }
}

/// What a source of another account hears would be heard of never, and nothing would say so.
async fn must_be_of(conn: &AsyncPgConnection, ids: &[SourceId], account: &AccountId) -> anyhow::Result<()> {
    let known = sources::list(conn).await?;
    for id in ids {
        let is_there = known.iter().any(|known| known.id == id.as_str() && known.account_id == account.as_str());
        ensure!(is_there, "there is no source {id} of account {account}: latchhook source list names them");
    }
    Ok(())
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
    // humantime would add them up.
    ensure!(!text.contains(char::is_whitespace), "{text:?} is not one time: {advice}");
    let pause = humantime::parse_duration(text).with_context(|| format!("{text:?} is no time: {advice}"))?;
    let is_whole = pause.subsec_nanos() == 0;
    ensure!(is_whole && PAUSE.contains(&pause), "a pause is from 1s to 7d, in whole seconds, and not {text}");
    Ok(pause)
}

/// Requests per second.
pub(in crate::cli) fn rate(text: &str) -> anyhow::Result<f64> {
    let advice = "a rate is requests a second, as a number: 50, or 0.1 for one in ten seconds";
    let rate: f64 = text.parse().with_context(|| format!("{text:?} is no rate: {advice}"))?;
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
        for text in ["5s 5m", "1s,5s\t5m"] {
            assert!(
                refused(text).contains("is not one time: the pauses of a schedule are times with commas"),
                "{text}"
            );
        }
    }
}
