//! The terms of an endpoint, as `endpoint add` is told them.

use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Args;
use database::{AsyncPgConnection, sources};
use dispatcher::notice::ENDPOINT_DISABLED;
use providers::Provider;
use vocabulary::{AccountId, EventTypes, Format, OrderedBy, SourceId, Terms};

use super::filter::GivenFilter;

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
    /// The pauses between attempts, with commas: 5s,5m,30m,2h. Standard Webhooks' schedule if not given
    #[arg(long, value_name = "PAUSES", value_delimiter = ',', value_parser = humantime::parse_duration)]
    schedule: Vec<Duration>,
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
            schedule: (!self.schedule.is_empty()).then_some(self.schedule),
            max_in_flight: self.max_in_flight,
            max_per_second: self.max_per_second,
            ordered_by: self.ordered_by,
        })
    }
}

fn rate(text: &str) -> anyhow::Result<f64> {
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
