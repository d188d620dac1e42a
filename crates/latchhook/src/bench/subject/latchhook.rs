//! All stages in this process, set up for one source and the endpoints of one account.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
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
use vocabulary::MasterKey;

use super::{
    super::{case::Case, customer::Customer, payload::PHONE_NUMBER_ID, stores::Stores, wire::Wire},
    APP_SECRET, SOURCE,
};
use crate::run::{self, Role, Settings, Stages};

const ACCOUNT: &str = "bench";
const RECORDED: &str = "dispatcher.recorded";
const READY_WITHIN: Duration = Duration::from_secs(10);

/// It runs.
pub(in super::super) struct Latchhook {
    settings: Settings,
    stop: CancellationToken,
    producer: Stages,
    /// What works off the queue; held back while a backlog grows.
    others: Option<Stages>,
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
        limit_groups(&mut settings, case.group)?;
        set_up(&settings, case.endpoints, stores, customer).await?;
        let stop = CancellationToken::new();
        let producer = run::start(&settings, &[Role::Producer], stop.clone()).await?;
        let mut latchhook = Self { settings, stop, producer, others: None };
        if !case.backlog {
            latchhook.release().await?;
        }
        timeout(READY_WITHIN, until_ready(latchhook.address())).await.context("the intake is not ready")??;
        Ok(latchhook)
    }

    /// Starts worker and dispatcher, if they do not run.
    pub(super) async fn release(&mut self) -> anyhow::Result<()> {
        if self.others.is_none() {
            let roles = [Role::Worker, Role::Dispatcher];
            self.others = Some(run::start(&self.settings, &roles, self.stop.clone()).await?);
        }
        Ok(())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.producer.address
    }

    /// Whether the queue is empty, and so many deliveries are recorded.
    pub(super) async fn stands(&self, redis: &Redis, deliveries: u64) -> anyhow::Result<bool> {
        let recorded = self.counters().get(RECORDED).is_some_and(|recorded| *recorded >= deliveries);
        Ok(recorded && Inbound::new(redis).depth().await?.all() == 0)
    }

    /// What the stages count. Whatever else they learn to count belongs here.
    pub(super) fn counters(&self) -> BTreeMap<String, u64> {
        let mut counters = BTreeMap::new();
        let Some(others) = &self.others else { return counters };
        let worker = others.worker.iter().flat_map(|worker| worker.all());
        counters.extend(worker.map(|(name, count)| (format!("worker.{name}"), count)));
        if let Some(dispatcher) = others.dispatcher.as_ref().map(|dispatcher| dispatcher.snapshot()) {
            counters.insert("dispatcher.leased".to_owned(), dispatcher.leased);
            counters.insert(RECORDED.to_owned(), dispatcher.recorded);
            counters.insert("dispatcher.sent".to_owned(), dispatcher.sent());
        }
        counters
    }

    /// Stops the stages, and waits until they have drained.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.producer.ended().await;
        if let Some(others) = self.others {
            others.ended().await;
        }
    }
}

/// The one place that says how many items a stage may work on together. The stages do not know such a setting yet.
fn limit_groups(_settings: &mut Settings, group: Option<usize>) -> anyhow::Result<()> {
    ensure!(group.is_none(), "--group: the stages cannot be told yet how many items they may work on together");
    Ok(())
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
            event_types: &"message_created".parse()?,
        };
        endpoints::put(&postgres, &master, &endpoint).await?;
    }
    let (_, revision) = sources::newest(&postgres).await?;
    let all = sources::open_all(&postgres, &master).await?;
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
