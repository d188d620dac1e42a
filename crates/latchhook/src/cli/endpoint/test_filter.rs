//! `latchhook endpoint test-filter`: what a filter says of bodies that are at hand. Offline, unless it is told to look.
//!
//! Of an endpoint all is asked that decides whether it hears of an event, in the order in which a worker asks: whose event it
//! is, its source, its type, and then the filter.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Args;
use database::{bodies, endpoints};
use dispatcher::notice::ENDPOINT_DISABLED;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vocabulary::{Answer, Condition, EndpointId, EventTypes, Filter, Format, View};

use super::{
    Context,
    filter::{GivenFilter, is_stdin, read, wrong},
    unknown,
};

/// The characters of a value that are shown.
const SHOWN: usize = 60;

/// Which filter, and which bodies.
#[derive(Debug, Args)]
pub(in crate::cli) struct TestFilter {
    #[command(flatten)]
    filter: GivenFilter,
    /// What this endpoint hears of, as Postgres has it: its account, sources and event types are asked first, as far as a body
    /// says them
    #[arg(long, value_name = "ID", conflicts_with = "GivenFilter", required_unless_present = "GivenFilter")]
    endpoint: Option<EndpointId>,
    /// The body of this event, as Postgres has it; again for more of them
    #[arg(long = "event", value_name = "ID")]
    events: Vec<Uuid>,
    /// Full bodies, a file each; - for stdin
    #[arg(value_name = "FILE", required_unless_present = "events")]
    files: Vec<PathBuf>,
}

/// What the filter says of one body.
#[derive(Debug, Serialize)]
struct Verdict {
    body: String,
    wanted: bool,
    answer: Answer,
    because: Vec<String>,
}

impl TestFilter {
    /// Runs it. Every body is read before anything is said.
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let bodies = self.bodies(context).await?;
        let asked = match &self.endpoint {
            Some(endpoint) => Asked::Endpoint(Hearer::find(context, endpoint).await?),
            None => Asked::Filter(self.filter.read()?.context("clap asks for a filter where there is no endpoint")?),
        };
        let verdicts = bodies.iter().map(|(name, body)| asked.verdict(name, body));
        let verdicts = verdicts.collect::<anyhow::Result<Vec<_>>>()?;
        context.out.list(&["body", "wanted", "because"], &verdicts)?;
        let unwanted = verdicts.iter().filter(|verdict| !verdict.wanted).count();
        ensure!(unwanted == 0, "{unwanted} of {} bodies are not wanted", verdicts.len());
        Ok(())
    }

    /// What they are called, and what they hold.
    async fn bodies(&self, context: &Context<'_>) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        let reads_stdin = self.files.iter().filter(|file| is_stdin(file)).count() + usize::from(self.filter.is_stdin());
        if reads_stdin > 1 {
            return Err(wrong("stdin holds one thing, a filter or a body: - was given more than once".to_owned()));
        }
        let mut bodies = Vec::with_capacity(self.files.len() + self.events.len());
        for file in &self.files {
            bodies.push((file.display().to_string(), read(file)?));
        }
        for event in &self.events {
            bodies.push((event.to_string(), body_of(context, *event).await?));
        }
        Ok(bodies)
    }
}

async fn body_of(context: &Context<'_>, event: Uuid) -> anyhow::Result<Vec<u8>> {
    let body = bodies::find(&*context.postgres().await?, event, Format::Full.as_str()).await?;
    body.ok_or_else(|| wrong(format!("there is no event {event}: latchhook events list names them")))
}

/// Who says whether a body is wanted.
enum Asked {
    Filter(Filter),
    Endpoint(Hearer),
}

impl Asked {
    fn verdict(&self, name: &str, body: &[u8]) -> anyhow::Result<Verdict> {
        let view = View::of(body).map_err(|error| wrong(format!("{name} is no JSON: {error}")))?;
        let (answer, because) = match self {
            Self::Filter(filter) => said_by(filter, &view),
            Self::Endpoint(endpoint) => endpoint.says(&Told::by(body), &view),
        };
        Ok(Verdict { body: name.to_owned(), wanted: answer != Answer::Fails, answer, because })
    }
}

/// What decides what an endpoint hears of.
struct Hearer {
    account_id: String,
    source_ids: Option<Vec<String>>,
    event_types: EventTypes,
    filter: Option<Filter>,
}

impl Hearer {
    async fn find(context: &Context<'_>, id: &EndpointId) -> anyhow::Result<Self> {
        let endpoint = endpoints::find(&*context.postgres().await?, id).await?.ok_or_else(|| wrong(unknown(id)))?;
        Ok(Self {
            account_id: endpoint.account_id,
            source_ids: endpoint.source_ids,
            event_types: EventTypes::from_names(endpoint.event_types)?,
            filter: endpoint.filter.map(|filter| filter.parse()).transpose()?,
        })
    }

    /// The first that decides, and only that. What latchhook itself tells an account is of no source, and asked for by its type
    /// alone.
    fn says(&self, told: &Told, body: &View<'_>) -> (Answer, Vec<String>) {
        let is_notice = told.event_type.as_deref() == Some(ENDPOINT_DISABLED);
        let refusal = self.of_account(told).or_else(|| self.of_source(told, is_notice)).or_else(|| self.of_type(told));
        match (refusal, &self.filter) {
            (Some(refusal), _) => (Answer::Fails, vec![refusal]),
            (None, _) if is_notice => (Answer::Holds, vec!["a notice is wanted by its type alone".to_owned()]),
            (None, Some(filter)) => said_by(filter, body),
            (None, None) => {
                (Answer::Holds, vec!["its sources and types are wanted, and there is no filter".to_owned()])
            }
        }
    }

    fn of_account(&self, told: &Told) -> Option<String> {
        let account = told.data.account_id.as_deref().filter(|account| *account != self.account_id)?;
        Some(format!("account {account}: the endpoint is of account {}", self.account_id))
    }

    fn of_source(&self, told: &Told, is_notice: bool) -> Option<String> {
        let wanted = self.source_ids.as_ref().filter(|_| !is_notice)?;
        let source = told.data.source_id.as_deref().filter(|source| wanted.iter().all(|wanted| wanted != source))?;
        Some(format!("source {source}: the endpoint wants {}", wanted.join(", ")))
    }

    fn of_type(&self, told: &Told) -> Option<String> {
        let event_type = told.event_type.as_deref().filter(|event_type| !self.event_types.want(event_type))?;
        Some(format!("type {event_type}: the endpoint wants {}", self.event_types))
    }
}

/// What a full body says of its event. What it does not say, as a piece of one may not, is held against nobody.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    #[serde(rename = "type")]
    event_type: Option<String>,
    data: Whose,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Whose {
    account_id: Option<String>,
    source_id: Option<String>,
}

impl Told {
    fn by(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
}

fn said_by(filter: &Filter, body: &View<'_>) -> (Answer, Vec<String>) {
    let because = filter.deciding(body).into_iter().map(|condition| told(condition, body)).collect();
    (filter.answer(body), because)
}

/// A condition, what it says, and what it says it of.
fn told(condition: &Condition, body: &View<'_>) -> String {
    let says = match condition.answer(body) {
        Answer::Holds => "holds",
        Answer::Fails => "fails",
        Answer::Unreadable => "cannot tell",
    };
    let found = match condition.looks_at(body) {
        Ok(Some(json)) => json.chars().take(SHOWN).collect(),
        Ok(None) => "nothing is there".to_owned(),
        Err(_) => "the way there cannot be read".to_owned(),
    };
    format!("{condition} {says}: {found}")
}
