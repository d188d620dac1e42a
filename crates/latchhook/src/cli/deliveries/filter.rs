//! Which deliveries.

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum, builder::PossibleValuesParser};
use database::{AsyncPgConnection, deliveries::Wanted, events};
use dispatcher::Outcome;
use uuid::Uuid;
use vocabulary::EndpointId;

use super::super::{context::Context, endpoint, since::Since};

/// Where a delivery has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    /// Owed
    Pending,
    /// A customer has it
    Delivered,
    /// Visibly given up
    Abandoned,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Which deliveries.
#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Only those in this state
    #[arg(long, value_name = "STATE")]
    pub(super) state: Option<State>,
    /// Only those to this endpoint
    #[arg(long, value_name = "ID")]
    endpoint: Option<EndpointId>,
    /// Only those of this event
    #[arg(long, value_name = "ID", value_parser = event_id)]
    event: Option<Uuid>,
    /// Only those committed since (2026-11-23T20:00:00Z, or 15m, 6h, 2d ago)
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,
    /// Only those committed before
    #[arg(long, value_name = "WHEN")]
    until: Option<Since>,
    /// Only those whose last attempt came to this
    #[arg(long, value_name = "CAUSE", value_parser = PossibleValuesParser::new(causes()))]
    cause: Option<String>,
    /// Only those whose last attempt was answered so
    #[arg(long, value_name = "N", value_parser = http_status)]
    status: Option<i16>,
}

/// What an attempt may come to that is no success.
fn causes() -> impl Iterator<Item = &'static str> {
    Outcome::LABELS.into_iter().filter(|label| *label != "delivered")
}

fn event_id(text: &str) -> anyhow::Result<Uuid> {
    text.parse().ok().context(
        "no id of an event: write it as latchhook events list prints it, 36 letters and dashes; events show finds an event \
         by its key",
    )
}

fn http_status(text: &str) -> anyhow::Result<i16> {
    let status = text.parse().ok().filter(|status| (100..=999).contains(status));
    status.context("no HTTP status: write a number from 100 to 999, such as 503")
}

impl Filter {
    /// Whether it is about one endpoint, and about no more than what was committed since a moment.
    pub(super) fn names_endpoint_and_since(&self) -> bool {
        self.endpoint.is_some() && self.since.is_some()
    }

    /// Whether it is about one endpoint or one event.
    pub(super) fn names_endpoint_or_event(&self) -> bool {
        self.endpoint.is_some() || self.event.is_some()
    }

    /// What it means now.
    ///
    /// # Errors
    /// When nothing can fit it.
    pub(super) fn wanted(&self, context: &Context<'_>) -> anyhow::Result<Wanted> {
        let [since, until] = [self.since, self.until].map(|when| when.map(|when| when.as_of(context.now)));
        if let (Some(since), Some(until)) = (since, until) {
            ensure!(
                since < until,
                "nothing was committed since {since} and before {until}: --since comes before --until"
            );
        }
        Ok(Wanted {
            event_id: self.event,
            endpoint_id: self.endpoint.as_ref().map(ToString::to_string),
            states: self.state.map(|state| state.as_str().to_owned()).into_iter().collect(),
            since,
            until,
            outcome: self.cause.clone(),
            http_status: self.status,
            ..Wanted::default()
        })
    }

    /// A misspelt name would match nothing, as if there were nothing to do.
    pub(super) async fn must_name_what_is_there(&self, conn: &AsyncPgConnection) -> anyhow::Result<()> {
        if let Some(endpoint) = &self.endpoint {
            endpoint::must_exist(conn, endpoint).await?;
        }
        if let Some(event) = self.event {
            let found = events::find(conn, event).await?;
            ensure!(found.is_some(), "there is no event {event}: latchhook events list names them");
        }
        Ok(())
    }
}
