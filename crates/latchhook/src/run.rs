//! The stages in one process: which of them, over which stores, until when.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use axum::{Router, http::StatusCode, routing::get};
use database::Database;
use dispatcher::{AllowedPrivate, Client, Dispatcher, Guard};
use producer::{ConnectionLimits, Intake, IntakeSettings, Producer, ProducerSettings, SourceBook};
use queue::{Redis, Wake};
use secrecy::SecretString;
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vocabulary::MasterKey;
use worker::{Sources, Worker};

/// Which stages a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Takes raw events in over HTTP.
    Producer,
    /// Commits them.
    Worker,
    /// Sends what they owe.
    Dispatcher,
}

/// Where the stores are, and what the stages need to know.
#[derive(Clone)]
pub struct Settings {
    /// Postgres.
    pub database_url: String,
    /// Redis.
    pub redis_url: String,
    /// What every key in Redis begins with.
    pub prefix: String,
    /// Where HTTP is served: `/hooks` of a producer, `/healthz` of every role.
    pub listen: SocketAddr,
    /// Opens the secrets.
    pub master_key: SecretString,
    /// Private networks that endpoints may be in.
    pub allow_private: AllowedPrivate,
    /// How a worker works.
    pub worker: worker::Settings,
    /// How a dispatcher works.
    pub dispatcher: dispatcher::Settings,
}

/// Connections to Postgres of one process: two transactions, the sources, and what the dispatcher leases and records.
const CONNECTIONS: usize = 8;

/// Stages that run.
pub struct Stages {
    /// Where HTTP is served.
    pub address: SocketAddr,
    /// What the worker has done, where there is one.
    pub worker: Option<Arc<worker::Counters>>,
    /// What the dispatcher has done, where there is one.
    pub dispatcher: Option<Arc<dispatcher::Counters>>,
    tasks: TaskTracker,
}

impl Stages {
    /// Waits until all of them have stopped and drained.
    pub async fn ended(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Starts stages; they stop, and drain, with `stop`.
///
/// # Errors
/// When a setting is wrong or the address cannot be listened on. A store that is away is no error: the stages wait for it.
pub async fn start(settings: &Settings, roles: &[Role], stop: CancellationToken) -> anyhow::Result<Stages> {
    let tasks = TaskTracker::new();
    let redis = Redis::new(&settings.redis_url, &settings.prefix).context("REDIS_URL cannot be used")?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {}: choose another LATCHHOOK_LISTEN", settings.listen))?;
    let wake = Arc::new(Notify::new());
    let mut stages = Stages { address: listener.local_addr()?, worker: None, dispatcher: None, tasks };
    if roles.iter().any(|role| *role != Role::Producer) {
        let database = Database::for_stages(&settings.database_url, CONNECTIONS)?;
        let sources = Sources::new(database.clone(), Arc::new(master(settings)?), &redis);
        stages.tasks.spawn(sources.clone().run(stop.clone()));
        if roles.contains(&Role::Worker) {
            let worker = Worker::new(&redis, database.clone(), sources, wake.clone(), settings.worker.clone());
            stages.worker = Some(worker.counters());
            stages.tasks.spawn(worker.run(stop.clone()));
        }
        if roles.contains(&Role::Dispatcher) {
            Wake::new(&redis).listen(wake.clone(), stop.clone());
            let dispatcher = Dispatcher::new(
                database,
                Arc::new(master(settings)?),
                settings.dispatcher.clone(),
                Client::new(Guard::new(settings.allow_private.clone())),
            );
            stages.dispatcher = Some(dispatcher.counters());
            stages.tasks.spawn(dispatcher.run(wake, stop.clone()));
        }
    }
    let limits = ConnectionLimits::default().within_open_files();
    if roles.contains(&Role::Producer) {
        let producer = Producer::new(&redis, ProducerSettings::default());
        let routes = intake(settings, &redis, producer.clone(), &stages, &stop)?;
        stages.tasks.spawn(async move {
            producer::serve(listener, routes, limits, stop).await;
            producer.close().await;
        });
    } else {
        stages.tasks.spawn(async move {
            producer::serve(listener, health(), limits, stop).await;
        });
    }
    Ok(stages)
}

fn master(settings: &Settings) -> anyhow::Result<MasterKey> {
    MasterKey::parse(&settings.master_key).context("LATCHHOOK_MASTER_KEY cannot be used")
}

fn intake(
    settings: &Settings,
    redis: &Redis,
    producer: Producer,
    stages: &Stages,
    stop: &CancellationToken,
) -> anyhow::Result<Router> {
    let book = SourceBook::new(redis, master(settings)?);
    let intake = Intake::new(redis, producer, book, IntakeSettings::default());
    let looking = intake.clone();
    let stop = stop.clone();
    stages.tasks.spawn(async move { looking.keep_looking(stop).await });
    Ok(producer::router(intake))
}

/// What a process without a producer serves.
fn health() -> Router {
    Router::new().route("/healthz", get(StatusCode::OK))
}
