//! The stages in one process: which of them, over which stores, until when.

mod certificates;
mod console;
mod forwarder;
mod metrics;

use std::{convert::Infallible, io, net::SocketAddr, num::NonZeroUsize, sync::Arc, thread, time::Duration};

use anyhow::Context;
use axum::{Router, http::StatusCode, routing::get};
use clap::ValueEnum;
use database::{Database, due::Leased};
use dispatcher::{AllowedPrivate, Client, Dispatcher, Guard};
use futures::{FutureExt, future::BoxFuture};
use producer::{ConnectionLimits, Intake, IntakeSettings, Producer, ProducerSettings, SourceBook};
use queue::{Redis, Wake};
use secrecy::SecretString;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Handle, Runtime},
    sync::{Notify, oneshot},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vocabulary::{EndpointId, MasterKey};
use worker::{Sources, Worker};

pub use self::console::ConsoleSettings;
use self::metrics::Metrics;

/// Which stages a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Takes raw events in over HTTP.
    Producer,
    /// Commits them.
    Worker,
    /// Sends what they owe.
    Dispatcher,
    /// The operator's API.
    Console,
    /// Enqueues what an app has committed to its outbox.
    Forwarder,
}

impl Role {
    /// All that need no database but latchhook's.
    pub const ALL: [Self; 4] = [Self::Producer, Self::Worker, Self::Dispatcher, Self::Console];
}

/// Where the stores are, and what the stages need to know.
#[derive(Clone)]
pub struct Settings {
    /// Postgres.
    pub database_url: String,
    /// An app's Postgres: what a forwarder needs, and nobody else.
    pub outbox_url: String,
    /// Redis.
    pub redis_url: String,
    /// What every key in Redis begins with.
    pub prefix: String,
    /// Where HTTP is served: `/hooks` of a producer, `/healthz` of every role.
    pub listen: SocketAddr,
    /// What a console needs, which does not start without it.
    pub console: Option<ConsoleSettings>,
    /// Threads of each stage; one for every two cores, where it is not said.
    pub threads: Option<NonZeroUsize>,
    /// Opens the secrets.
    pub master_key: SecretString,
    /// Private networks that endpoints may be in.
    pub allow_private: AllowedPrivate,
    /// What a producer may hold.
    pub producer: ProducerSettings,
    /// How a worker works.
    pub worker: worker::Settings,
    /// How a dispatcher works.
    pub dispatcher: dispatcher::Settings,
}

/// Connections to Postgres of one stage, beside those for the transactions of a worker: for the sources, and what the
/// dispatcher leases, records, gives back.
const CONNECTIONS: usize = 4;

/// Stages that run.
pub struct Stages {
    /// Where HTTP is served.
    pub address: SocketAddr,
    /// Where the console serves HTTP, where there is one.
    pub console: Option<SocketAddr>,
    /// The producer, where there is one.
    pub producer: Option<Producer>,
    /// What the worker has done, where there is one.
    pub worker: Option<Arc<worker::Counters>>,
    /// What the dispatcher has done, where there is one.
    pub dispatcher: Option<Arc<dispatcher::Counters>>,
    metrics: Metrics,
    tasks: TaskTracker,
    runtimes: Vec<Threads>,
}

impl Stages {
    /// Waits until all of them have stopped and drained.
    pub async fn ended(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// A runtime of a stage's own, so that its threads bear its name, what keeps one stage busy keeps no other from its
    /// turn, and what is handed on within a stage stays on its threads. These are one for every two cores: more of them wake
    /// each other more than they work, and next to a stage there mostly is another, or a store.
    fn runtime(&mut self, settings: &Settings, role: Role) -> anyhow::Result<Handle> {
        let one_for_two_cores = || thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        let threads = settings.threads.map_or_else(one_for_two_cores, NonZeroUsize::get);
        let name = role.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let (handle, threads) = Threads::start(threads, name).context("no threads to run on")?;
        self.runtimes.push(threads);
        Ok(handle)
    }
}

/// Starts stages; they stop, and drain, with `stop`.
///
/// # Errors
/// When a setting is wrong or the address cannot be listened on. A store that is away is no error: the stages wait for it.
pub async fn start(settings: &Settings, roles: &[Role], stop: CancellationToken) -> anyhow::Result<Stages> {
    let listener = listen(settings.listen, "LATCHHOOK_LISTEN").await?;
    let mut stages = Stages {
        address: listener.local_addr()?,
        console: None,
        producer: None,
        worker: None,
        dispatcher: None,
        metrics: Metrics::default(),
        tasks: TaskTracker::new(),
        runtimes: Vec::new(),
    };
    if roles.contains(&Role::Console) {
        stages.start_console(settings, &stop).await?;
    }
    let wake = Arc::new(Notify::new());
    let mut desk: Option<Arc<dyn worker::Desk>> = None;
    if roles.contains(&Role::Dispatcher) {
        desk = Some(stages.start_dispatcher(settings, roles, &wake, &stop)?);
    }
    if roles.contains(&Role::Worker) {
        stages.start_worker(settings, &wake, desk, &stop)?;
    }
    if roles.contains(&Role::Forwarder) {
        stages.start_forwarder(settings, &stop)?;
    }
    let limits = ConnectionLimits::default().within_open_files();
    if roles.contains(&Role::Producer) {
        stages.start_producer(settings, listener.into_std()?, limits, &stop)?;
    } else {
        let pages = health().merge(stages.metrics.router());
        stages.tasks.spawn(async move {
            producer::serve(listener, pages, limits, stop).await;
        });
    }
    Ok(stages)
}

async fn listen(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}: choose another {setting}"))
}

impl Stages {
    /// Gives the desk where a worker beside it can hand over what it commits.
    fn start_dispatcher(
        &mut self,
        settings: &Settings,
        roles: &[Role],
        wake: &Arc<Notify>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Arc<dyn worker::Desk>> {
        let runtime = self.runtime(settings, Role::Dispatcher)?;
        let _entered = runtime.enter();
        let redis = redis(settings)?;
        let database = Database::for_stages(&settings.database_url, CONNECTIONS)?;
        if !roles.contains(&Role::Worker) {
            let sources = Sources::new(database.clone(), Arc::new(master(settings)?), &redis);
            self.tasks.spawn_on(sources.run(stop.clone()), &runtime);
        }
        Wake::new(&redis).listen(wake.clone(), stop.clone());
        let client = Client::new(Guard::new(settings.allow_private.clone()));
        let dispatcher = Dispatcher::new(database, Arc::new(master(settings)?), settings.dispatcher.clone(), client);
        self.metrics.dispatching(dispatcher.counters(), Database::for_counting(&settings.database_url, 3)?);
        self.dispatcher = Some(dispatcher.counters());
        let desk = desk_of(&dispatcher);
        self.tasks.spawn_on(dispatcher.run(wake.clone(), stop.clone()), &runtime);
        Ok(desk)
    }

    fn start_worker(
        &mut self,
        settings: &Settings,
        wake: &Arc<Notify>,
        desk: Option<Arc<dyn worker::Desk>>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let runtime = self.runtime(settings, Role::Worker)?;
        let _entered = runtime.enter();
        let redis = redis(settings)?;
        let database = Database::for_stages(&settings.database_url, CONNECTIONS + settings.worker.lanes)?;
        let sources = Sources::new(database.clone(), Arc::new(master(settings)?), &redis);
        self.tasks.spawn_on(sources.clone().run(stop.clone()), &runtime);
        let settings = worker::Settings { desk, ..settings.worker.clone() };
        let worker = Worker::builder(&redis, database, sources).wake(wake.clone()).settings(settings).build();
        self.worker = Some(worker.counters());
        self.tasks.spawn_on(worker.run(stop.clone()), &runtime);
        Ok(())
    }

    fn start_producer(
        &mut self,
        settings: &Settings,
        listener: std::net::TcpListener,
        limits: ConnectionLimits,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let runtime = self.runtime(settings, Role::Producer)?;
        let _entered = runtime.enter();
        let redis = redis(settings)?;
        let producer = Producer::new(&redis, settings.producer);
        self.producer = Some(producer.clone());
        let intake = Intake::new(
            &redis,
            producer.clone(),
            SourceBook::new(&redis, master(settings)?),
            certificates::through(Client::new(Guard::new(settings.allow_private.clone()))),
            IntakeSettings::default(),
        );
        let (looking, stopped) = (intake.clone(), stop.clone());
        self.tasks.spawn_on(async move { looking.keep_looking(stopped).await }, &runtime);
        let (listener, stop) = (TcpListener::from_std(listener)?, stop.clone());
        let serving = async move {
            producer::serve(listener, producer::routes(intake), limits, stop).await;
            producer.close().await;
        };
        self.tasks.spawn_on(serving, &runtime);
        Ok(())
    }
}

/// A runtime that may be dropped anywhere: what still runs on it is left behind.
enum Threads {
    /// A single thread needs no guard against others. It ends with this.
    One {
        _until: oneshot::Sender<Infallible>,
    },
    Several(Option<Runtime>),
}

impl Threads {
    fn start(threads: usize, name: String) -> io::Result<(Handle, Self)> {
        if threads > 1 {
            let runtime = Builder::new_multi_thread().worker_threads(threads).thread_name(name).enable_all().build()?;
            return Ok((runtime.handle().clone(), Self::Several(Some(runtime))));
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, (until, ended)) = (runtime.handle().clone(), oneshot::channel());
        thread::Builder::new().name(name).spawn(move || {
            // Nothing is ever said: it ends when whoever would say it is gone.
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        Ok((handle, Self::One { _until: until }))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Self::Several(runtime) = self {
            runtime.take().map(Runtime::shutdown_background).unwrap_or_default();
        }
    }
}

/// A dispatcher's desk, as a worker sees it.
pub fn desk_of(dispatcher: &Dispatcher) -> Arc<dyn worker::Desk> {
    Arc::new(DispatchersDesk(dispatcher.desk()))
}

/// The stages know nothing of each other: here they meet.
struct DispatchersDesk(dispatcher::Desk);

impl worker::Desk for DispatchersDesk {
    fn lease(&self) -> Duration {
        self.0.lease()
    }

    fn has_places(&self) -> BoxFuture<'_, ()> {
        self.0.has_places().boxed()
    }

    fn set_aside(&self, account: &str, endpoint: &EndpointId, bytes: usize) -> bool {
        self.0.set_aside(account, endpoint, bytes)
    }

    fn give_back(&self, account: &str, endpoint: &EndpointId, bytes: usize) {
        self.0.give_back(account, endpoint, bytes);
    }

    fn take(&self, deliveries: Vec<Leased>, ends: Instant) {
        self.0.take(deliveries, ends);
    }
}

fn redis(settings: &Settings) -> anyhow::Result<Redis> {
    Redis::new(&settings.redis_url, &settings.prefix).context("REDIS_URL cannot be used")
}

fn master(settings: &Settings) -> anyhow::Result<MasterKey> {
    MasterKey::parse(&settings.master_key).context("LATCHHOOK_MASTER_KEY cannot be used")
}

/// What a process without a producer serves.
fn health() -> Router {
    Router::new().route("/healthz", get(StatusCode::OK))
}
