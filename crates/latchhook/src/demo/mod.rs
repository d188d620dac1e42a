//! `latchhook demo`: all stages, a sender that repeats itself, a customer that counts, and the verdict.
//!
//! What is printed comes from four that do not ask each other: the sender counts its answers, the customer what it heard,
//! Postgres what it holds, and the audit compares. The stream knows what must come of it.

mod customer;
mod report;
mod sender;
mod stream;

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use database::{Connection, Database, accounts, audit as sums, endpoints, listing, sources};
use dispatcher::signing::SigningSecret;
use indicatif::{ProgressBar, ProgressStyle};
use queue::{ClaimSettings, Inbound, Redis};
use secrecy::SecretString;
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use vocabulary::{MasterKey, Terms};

use crate::{
    cli::audit,
    run::{self, Role, Settings, Stages},
};
use customer::Customer;
pub(crate) use report::Report;
use stream::Stream;

/// How long the queues may take to stand after the last answer. The longest wait in a healthy run is a deferred job's two
/// seconds.
const DRAIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What to replay.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Options {
    /// How many requests are made from the recorded ones, before any is repeated
    #[arg(long, default_value_t = 3000)]
    requests: usize,
    /// How many different requests are sent in a second; far above what the machine can do, only queues grow
    #[arg(long, default_value = "250")]
    rate: NonZeroU32,
    /// The same seed makes the same stream
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A demo has no ten minutes: what Redis remembers for so long otherwise, it forgets in two seconds here, so that the
/// duplicates that come far apart are the ledger's, as they are in a life of seven days of redelivery.
pub(crate) fn claims() -> ClaimSettings {
    ClaimSettings { remember_done: Duration::from_secs(2), ..ClaimSettings::default() }
}

/// The stores, as the demo looks into them.
struct Stores {
    postgres: Connection,
    redis: Redis,
}

/// Runs the demo over migrated, empty stores, to its end.
///
/// # Errors
/// When it could not be run to its end. A broken promise is in the report.
pub(crate) async fn demo(settings: &Settings, options: Options) -> anyhow::Result<Report> {
    let stop = CancellationToken::new();
    let secret = SigningSecret::generate();
    let customer = Customer::listen(&secret, stop.clone()).await.context("the customer cannot listen")?;
    let mut stores = Stores {
        postgres: Database::new(&settings.database_url, 1)?.connection().await?,
        redis: Redis::new(&settings.redis_url, &settings.prefix)?,
    };
    set_up(&stores.postgres, settings, &customer, secret).await?;
    let expected = Stream::record(options.seed, options.requests);
    let stages = run::start(settings, &[Role::Producer, Role::Worker, Role::Dispatcher], stop.clone()).await?;
    sender::until_ready(&format!("http://{}/readyz", stages.address)).await?;

    let bar = progress(expected.sent as u64);
    let (tick, started) = (bar.clone(), Instant::now());
    let url = format!("http://{}/hooks/demo", stages.address);
    let answers = sender::send(&url, &expected, options.rate, move || tick.inc(1)).await?;
    let sent_for = started.elapsed();
    bar.set_message("sent; waiting until all of it is settled and delivered");
    stores.stand().await?;
    bar.finish_and_clear();

    let (by_claim, by_ledger) = duplicates(&stages);
    stop.cancel();
    stages.ended().await;
    Ok(Report {
        expected,
        answers,
        sent_for,
        by_claim,
        by_ledger,
        sums: sums::sums(&stores.postgres).await?,
        latency: listing::latency(&stores.postgres).await?,
        heard: customer.heard(),
        audit: audit::check(&stores.redis, &mut stores.postgres).await?,
    })
}

/// An account, the source that the stream is for, and the customer's endpoint, which wants everything.
async fn set_up(
    postgres: &Connection,
    settings: &Settings,
    customer: &Customer,
    secret: SecretString,
) -> anyhow::Result<()> {
    let master = MasterKey::parse(&settings.master_key)?;
    let (account, source, endpoint) = ("demo".parse()?, "demo".parse()?, "customer".parse()?);
    accounts::put(postgres, &account, "Demo").await?;
    let number = json!({"phone_number_id": stream::PHONE_NUMBER_ID});
    let source = sources::NewSource {
        id: &source,
        account_id: &account,
        name: "The recorded number",
        provider: "whatsapp",
        secrets: &[stream::APP_SECRET.to_owned().into()],
        verify_token: Some(&stream::VERIFY_TOKEN.to_owned().into()),
        body_limit: None,
        settings: number.as_object().context("a JSON object")?,
    };
    sources::put(postgres, &master, &source).await?;
    let endpoint = endpoints::NewEndpoint {
        id: &endpoint,
        account_id: &account,
        url: &format!("http://{}/webhooks", customer.address),
        secrets: &[secret],
        terms: &Terms::of("*".parse()?),
    };
    endpoints::put(postgres, &master, &endpoint).await?;
    Ok(())
}

impl Stores {
    /// Waits until nothing is on its way any more: the queue is empty, and nothing is due.
    async fn stand(&self) -> anyhow::Result<()> {
        let (inbound, began) = (Inbound::new(&self.redis), Instant::now());
        loop {
            let depth = inbound.depth().await?;
            let queued = depth.ready + depth.scheduled + depth.inflight + depth.dead;
            if queued == 0 && sums::sums(&self.postgres).await?.pending == 0 {
                return Ok(());
            }
            if began.elapsed() > DRAIN {
                bail!("after {} s {queued} jobs are still queued: see the log (LATCHHOOK_LOG=info)", DRAIN.as_secs());
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

fn duplicates(stages: &Stages) -> (u64, u64) {
    let counted = |worker: &worker::Counters| (worker.duplicates_by_claim.get(), worker.duplicates_by_ledger.get());
    stages.worker.as_deref().map(counted).unwrap_or_default()
}

fn progress(requests: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} requests  {msg}");
    let bar = ProgressBar::new(requests);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}
