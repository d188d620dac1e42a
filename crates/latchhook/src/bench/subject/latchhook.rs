//! All stages in this process, set up for one source and the endpoints of one account.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::Context;
use chrono::Utc;
use database::{Connection, Database, accounts, endpoints, sources};
use queue::{Inbound, Redis, Snapshots};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use vocabulary::{MasterKey, Terms};

use super::{
    super::{case::Case, customer::Customer, payload::PHONE_NUMBER_ID, stores::Stores, wire::Wire},
    APP_SECRET, SOURCE,
};
use crate::run::{self, Role, Settings, Stages};

/// The producer first.
const ALL: [Role; 3] = [Role::Producer, Role::Worker, Role::Dispatcher];
const ACCOUNT: &str = "bench";
/// Past eight nothing is gained on two cores.
const LANES_OF_SMALL_GROUPS: usize = 8;
const RECORDED: &str = "dispatcher.recorded";
const READY_WITHIN: Duration = Duration::from_secs(10);

/// It runs.
pub(in super::super) struct Latchhook {
    settings: Settings,
    stop: CancellationToken,
    /// All together, as `latchhook run` has them; of a backlog's case first the producer, then the others.
    stages: Vec<Stages>,
    /// Where requests are sent.
    address: SocketAddr,
    /// What works off the queue, while that is held back.
    held_back: Vec<Role>,
}

impl Latchhook {
    /// Sets up, and starts the stages over these stores; of a backlog's case the producer alone.
    ///
    /// # Errors
    /// When a store refuses, or the stages are not ready in time.
    pub(super) async fn start(
        template: &Settings,
        case: &Case,
        stores: &Stores,
        customer: &Customer,
    ) -> anyhow::Result<Self> {
        let mut settings = template.clone();
        settings.database_url.clone_from(&stores.database_url);
        settings.redis_url.clone_from(&stores.redis_url);
        limit_groups(&mut settings, case.group);
        settings.producer.raw_events_per_job = case.per_job.unwrap_or(settings.producer.raw_events_per_job);
        set_up(&settings, case.endpoints, stores, customer).await?;
        let stop = CancellationToken::new();
        let (first, then): (&[Role], &[Role]) = if case.backlog { (&ALL[..1], &ALL[1..]) } else { (&ALL, &[]) };
        let stages = run::start(&settings, first, stop.clone()).await?;
        let address = stages.address;
        timeout(READY_WITHIN, until_ready(address)).await.context("the intake is not ready")??;
        Ok(Self { settings, stop, stages: vec![stages], address, held_back: then.to_vec() })
    }

    /// Starts what was held back.
    pub(super) async fn release(&mut self) -> anyhow::Result<()> {
        let held_back = std::mem::take(&mut self.held_back);
        if !held_back.is_empty() {
            self.stages.push(run::start(&self.settings, &held_back, self.stop.clone()).await?);
        }
        Ok(())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the queue is empty, and so many deliveries are recorded.
    pub(super) async fn stands(&self, redis: &Redis, deliveries: u64) -> anyhow::Result<bool> {
        let recorded = self.counters().get(RECORDED).is_some_and(|recorded| *recorded >= deliveries);
        Ok(recorded && Inbound::new(redis).depth().await?.all() == 0)
    }

    /// What the stages count. Whatever else they learn to count belongs here.
    pub(super) fn counters(&self) -> BTreeMap<String, u64> {
        let mut counters = BTreeMap::new();
        for producer in self.stages.iter().filter_map(|stages| stages.producer.as_ref()) {
            counters.insert("producer.pushes".to_owned(), producer.counters().pushes.get());
            counters.insert("producer.raw_events".to_owned(), producer.counters().raw_events.get());
        }
        for worker in self.stages.iter().filter_map(|stages| stages.worker.as_ref()) {
            counters.extend(worker.all().into_iter().map(|(name, count)| (format!("worker.{name}"), count)));
        }
        for dispatcher in self.stages.iter().filter_map(|stages| stages.dispatcher.as_ref()) {
            let dispatcher = dispatcher.snapshot();
            counters.insert("dispatcher.leased".to_owned(), dispatcher.leased);
            counters.insert("dispatcher.handed_over".to_owned(), dispatcher.handed_over);
            counters.insert("dispatcher.records".to_owned(), dispatcher.records);
            counters.insert(RECORDED.to_owned(), dispatcher.recorded);
            counters.insert("dispatcher.sent".to_owned(), dispatcher.sent());
        }
        counters
    }

    /// Stops the stages, and waits until they have drained.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        for stages in self.stages {
            stages.ended().await;
        }
    }
}

/// Says how many items any batch may hold. More transactions run side by side then: whoever works without batches would
/// have it so, and two at a time would be slow for want of company, not of batches.
fn limit_groups(settings: &mut Settings, group: Option<usize>) {
    let Some(group) = group else { return };
    settings.producer.raw_events_per_push = group;
    settings.worker.consumer.fetch_jobs = group;
    settings.worker.group_items = group;
    settings.worker.transaction_items = group;
    settings.worker.lanes = LANES_OF_SMALL_GROUPS.max(settings.worker.lanes);
    settings.dispatcher.batch = group;
}

/// An account, its endpoints, and the source; the producer knows it when this returns.
async fn set_up(settings: &Settings, endpoints: u64, stores: &Stores, customer: &Customer) -> anyhow::Result<()> {
    let postgres = Database::new(&stores.near_database_url, 1)?.connection().await?;
    let master = MasterKey::parse(&settings.master_key)?;
    accounts::put(&postgres, &ACCOUNT.parse()?, "Bench").await?;
    add_source(&postgres, &master).await?;
    for number in 0..endpoints {
        let endpoint = endpoints::NewEndpoint {
            id: &format!("endpoint-{number}").parse()?,
            account_id: &ACCOUNT.parse()?,
            url: &customer.url(number),
            secrets: &[customer.secret.expose_secret().into()],
            terms: &Terms::of("message_created".parse()?),
        };
        endpoints::put(&postgres, &master, &endpoint).await?;
    }
    let (_, revision) = sources::newest(&postgres).await?;
    let all = sources::open_all(&postgres, &master).await?.whole()?;
    let redis = stores.redis(&settings.prefix)?;
    Snapshots::new(&redis).publish(&master, revision, &all, Utc::now()).await?;
    Ok(())
}

async fn add_source(postgres: &Connection, master: &MasterKey) -> anyhow::Result<()> {
    let number = json!({ "phone_number_id": PHONE_NUMBER_ID });
    let source = sources::NewSource {
        id: &SOURCE.parse()?,
        account_id: &ACCOUNT.parse()?,
        name: "The recorded number",
        provider: "whatsapp",
        secrets: &[APP_SECRET.into()],
        verify_token: None,
        body_limit: None,
        settings: number.as_object().context("a JSON object")?,
    };
    sources::put(postgres, master, &source).await?;
    Ok(())
}

async fn until_ready(address: SocketAddr) -> anyhow::Result<()> {
    let mut wire = Wire::new(TcpStream::connect(address).await?);
    loop {
        wire.write(b"GET /readyz HTTP/1.1\r\nhost: latchhook\r\n\r\n").await?;
        if wire.answer().await?.status == 200 {
            return Ok(());
        }
        sleep(Duration::from_millis(20)).await;
    }
}
