//! `latchhook endpoint test-filter`: what a filter says of bodies that are at hand. Offline, unless it is told to look.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Args;
use database::{bodies, endpoints};
use serde::Serialize;
use uuid::Uuid;
use vocabulary::{Answer, Condition, EndpointId, Filter, Format, View};

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
    /// The filter of this endpoint, as Postgres has it
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
        let filter = match &self.endpoint {
            Some(endpoint) => filter_of(context, endpoint).await?,
            None => self.filter.read()?.context("clap asks for a filter where there is no endpoint")?,
        };
        let verdicts = bodies.iter().map(|(name, body)| Verdict::of(&filter, name, body));
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

async fn filter_of(context: &Context<'_>, id: &EndpointId) -> anyhow::Result<Filter> {
    let all = endpoints::list(&*context.postgres().await?).await?;
    let endpoint = all.into_iter().find(|endpoint| endpoint.id == id.as_str()).ok_or_else(|| wrong(unknown(id)))?;
    let filter =
        endpoint.filter.ok_or_else(|| wrong(format!("endpoint {id} has no filter: it wants whatever comes")))?;
    Ok(filter.parse()?)
}

impl Verdict {
    fn of(filter: &Filter, name: &str, body: &[u8]) -> anyhow::Result<Self> {
        let body = View::of(body).map_err(|error| wrong(format!("{name} is no JSON: {error}")))?;
        let answer = filter.answer(&body);
        let because = filter.deciding(&body).into_iter().map(|condition| told(condition, &body)).collect();
        Ok(Self { body: name.to_owned(), wanted: filter.wants(&body), answer, because })
    }
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
