//! `latchhook listen`: what an endpoint is owed, copied to a developer's machine.

mod api;
mod forward;

use std::{future::Future, io, time::Duration};

use clap::Args;
use console::Line;
use futures::{Stream, StreamExt};
use secrecy::SecretString;
use serde::Serialize;
use tokio::{
    pin,
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use vocabulary::EndpointId;

use self::{
    api::{Api, StreamError},
    forward::{Forwarded, Forwarder},
};
use super::{context::Context, http::HttpUrl};

/// The pauses before the stream is asked for again: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Requests to the developer's server at the same time; behind one that hangs the stream waits.
const IN_FLIGHT: usize = 8;

/// Copy what an endpoint is owed from now on to a server of your own; Ctrl-C ends it
///
/// The copy has the headers of a delivery and its body. What the endpoint was given by --header, --basic-auth and
/// --client-cert-file is left out: it was given for another server.
#[derive(Debug, Args)]
pub(super) struct Listen {
    /// Whose deliveries
    #[arg(long, value_name = "ID")]
    endpoint: EndpointId,
    /// Where to POST them; no guard stands before it
    #[arg(long, value_name = "URL")]
    forward: HttpUrl,
    /// Where the console is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081")]
    api: HttpUrl,
    /// What the console wants to be shown
    #[arg(long, env = "LATCHHOOK_API_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<SecretString>,
}

/// How many requests were made, and how many of them were not answered with 2xx.
#[derive(Debug, Default, Serialize)]
struct Tally {
    forwarded: u64,
    failed: u64,
}

impl Listen {
    /// Runs it, until a signal.
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let (mut tally, stopped) = (Tally::default(), stopped()?);
        tokio::select! {
            ended = self.listen(context, &mut tally) => ended?,
            () = stopped => {}
        }
        if context.out.is_json() {
            return context.out.line(&tally);
        }
        context.out.text(&format!("{} forwarded, {} of them failed", tally.forwarded, tally.failed))
    }

    /// For ever, unless the console says what it would say the next time too.
    async fn listen(&self, context: &mut Context<'_>, tally: &mut Tally) -> anyhow::Result<()> {
        let api = Api::new(&self.api, &self.endpoint, self.token.as_ref())?;
        let forwarder = Forwarder::new(&self.forward)?;
        let mut pause = PAUSE;
        loop {
            let why = match api.connect().await {
                Ok(lines) => {
                    let (endpoint, url) = (&self.endpoint, &self.forward);
                    context.note(&format!("what {endpoint} is owed from now on goes to {url} too"));
                    pause = PAUSE;
                    forward_all(context, tally, &forwarder, lines).await?
                }
                Err(refused @ StreamError::Refused { .. }) => return Err(refused.into()),
                Err(away) => away,
            };
            let (why, pause_shown) = (anyhow::Error::new(why), humantime::format_duration(pause));
            context
                .note(&format!("{why:#}; asks again in {pause_shown}, and what is committed until then is not copied"));
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Forwards what the stream says, to its end; gives why it ended.
async fn forward_all(
    context: &mut Context<'_>,
    tally: &mut Tally,
    forwarder: &Forwarder,
    lines: impl Stream<Item = Result<Line, StreamError>>,
) -> anyhow::Result<StreamError> {
    let sending = lines.map(async |line| Ok(forwarder.forward(line?).await));
    let results = sending.buffer_unordered(IN_FLIGHT);
    pin!(results);
    let mut ended = StreamError::Ended;
    while let Some(result) = results.next().await {
        match result {
            Ok(forwarded) => print(context, tally, &forwarded)?,
            Err(error) => ended = error,
        }
    }
    Ok(ended)
}

fn print(context: &mut Context<'_>, tally: &mut Tally, forwarded: &Forwarded) -> anyhow::Result<()> {
    tally.forwarded += 1;
    tally.failed += u64::from(!forwarded.is_delivered());
    if context.out.is_json() { context.out.line(forwarded) } else { context.out.text(&forwarded.to_string()) }
}

/// Ends with Ctrl-C, or when the process is told to.
fn stopped() -> io::Result<impl Future<Output = ()>> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! { _ = interrupts.recv() => {} _ = terminations.recv() => {} }
    })
}
