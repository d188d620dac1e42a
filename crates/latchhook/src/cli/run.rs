//! `latchhook run`: the stages, until told to stop.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Args;
use console::Token;
use secrecy::{ExposeSecret, SecretString};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{context::Context, tuning::Tuning};
use crate::run::{self, ConsoleSettings, Role, Settings};

/// Run the stages: SIGTERM drains, a second one ends
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Which stages
    #[arg(long, value_delimiter = ',', default_value = "producer,worker,dispatcher")]
    roles: Vec<Role>,

    #[command(flatten)]
    listen: Listen,

    #[command(flatten)]
    tuning: Tuning,
}

/// Where HTTP is served.
#[derive(Debug, Clone, Args)]
pub(super) struct Listen {
    /// Where /hooks (producer) and /healthz (every role) are served, and /metrics where no producer runs
    #[arg(long, env = "LATCHHOOK_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(super) listen: SocketAddr,

    /// Where the operator's API (console) is served, and /metrics
    #[arg(long, env = "LATCHHOOK_CONSOLE_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    console_listen: SocketAddr,

    /// What requests to the operator's API must show: 16 characters or more
    #[arg(long, env = "LATCHHOOK_API_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(super) api_token: Option<SecretString>,
}

impl Run {
    /// Runs it.
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let settings = Settings { console: self.listen.console()?, ..self.settings(context)? };
        until_told_to_stop(context, &settings, &self.roles).await
    }

    /// A forwarder needs the app's Postgres, Redis, and nothing else.
    fn settings(&self, context: &Context<'_>) -> anyhow::Result<Settings> {
        if self.roles.contains(&Role::Forwarder) {
            context.outbox_url()?;
        }
        if self.roles.iter().any(|role| *role != Role::Forwarder) {
            settings(context, self.listen.listen, &self.tuning)
        } else {
            of_any_role(context, self.listen.listen, &self.tuning)
        }
    }
}

impl Listen {
    /// What is given; a variable that is set to nothing is not set.
    pub(super) fn token(&self) -> Option<&SecretString> {
        self.api_token.as_ref().filter(|token| !token.expose_secret().is_empty())
    }

    /// What a console needs; `None` where no token is given.
    pub(super) fn console(&self) -> anyhow::Result<Option<ConsoleSettings>> {
        let token = self.token().map(Token::parse).transpose().context("LATCHHOOK_API_TOKEN cannot be used")?;
        Ok(token.map(|token| ConsoleSettings { listen: self.console_listen, token }))
    }
}

/// What the stages need to know, from the settings of the command line; a console is not among them.
pub(super) fn settings(context: &Context<'_>, listen: SocketAddr, tuning: &Tuning) -> anyhow::Result<Settings> {
    context.database_url()?;
    context.master_key()?;
    of_any_role(context, listen, tuning)
}

/// Likewise, without what only some of them need.
fn of_any_role(context: &Context<'_>, listen: SocketAddr, tuning: &Tuning) -> anyhow::Result<Settings> {
    let given = &context.settings;
    Ok(Settings {
        database_url: context.database_url().unwrap_or_default().to_owned(),
        outbox_url: context.outbox_url().unwrap_or_default().to_owned(),
        redis_url: context.redis_url()?.to_owned(),
        prefix: given.prefix.clone(),
        listen,
        console: None,
        threads: tuning.threads,
        master_key: given.master_key.as_ref().map(|key| key.expose_secret().into()).unwrap_or_default(),
        allow_private: given.allow_private_endpoints.clone().unwrap_or_default(),
        producer: tuning.producer(),
        worker: tuning.worker(),
        dispatcher: tuning.dispatcher(),
    })
}

/// Runs stages until a signal; drains them; ends at once with the second signal.
pub(super) async fn until_told_to_stop(
    context: &Context<'_>,
    settings: &Settings,
    roles: &[Role],
) -> anyhow::Result<()> {
    #[cfg(feature = "kill-points")]
    crate::kill_points::arm()?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut interrupts = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let stages = run::start(settings, roles, stop.clone()).await?;
    if let Some(console) = stages.console {
        context.note(&format!("the console is on http://{console}"));
    }
    context.note(&format!("latchhook listens on http://{}", stages.address));
    tokio::select! { _ = terminations.recv() => {} _ = interrupts.recv() => {} }
    context.note("latchhook drains; a second signal ends it at once");
    stop.cancel();
    tokio::select! {
        () = stages.ended() => Ok(()),
        _ = terminations.recv() => anyhow::bail!("ended before everything was drained: what was in hand comes back by itself"),
        _ = interrupts.recv() => anyhow::bail!("ended before everything was drained: what was in hand comes back by itself"),
    }
}
