//! The ceiling: what this machine can do with the same statements, the same bytes and the same syncing to disk, by a program
//! that promises nothing. What latchhook reaches is to be read beside it.
//!
//! ```text
//!  sender ─HTTP─▶ intake ─RPUSH─▶ ( Redis ) ─LPOP─▶ worker ─one statement─▶ ( Postgres ) ◀── recorder
//!                                   claims ◀─SET NX─┘  └──── memory ────▶ courier ─HTTP─▶ customer ┘
//! ```
//!
//! The cast, a thread each: the [`intake`] verifies a request and pushes what came at the same moment; a [`worker`] pops,
//! claims, writes one statement that is one transaction ([`ledger`]), and hands what Postgres has over in memory; a
//! [`courier`] signs and sends; the [`recorder`] writes down what came of it. `resp.rs` and `super::wire` are Redis's and
//! HTTP's protocols by hand, because a client that can do more costs more. A [`Shape`] says how much each takes at once.
//!
//! What it leaves out, and latchhook has, is what a promise costs:
//! * What a worker holds when it dies is lost: popped is gone, and nobody has a receipt of it.
//! * What Postgres has and was not delivered when it dies is never delivered: its row in `due` is written and deleted as
//!   latchhook does, because it is one statement with the rest, but nobody leases what is left there.
//! * A claim has no owner, is not released, and says nothing of whether its event was committed.
//! * A duplicate that Redis did not know ends the run: the ledger refuses its statement, and nobody makes it again.
//! * One kind of item is read, a text message, and as far as it is shown. Nothing is quarantined or tried again: what does
//!   not go as planned is counted, and a run with any of that is no measurement, and fails.
//! * Whatever a customer's address is, it is connected to.
//!
//! Its time ends when the customer has all; what it has not recorded by then, it records after, and fails if it does not.

mod columns;
mod courier;
mod frame;
mod intake;
mod item;
mod ledger;
mod recorder;
mod resp;
mod shape;
mod sources;
mod stage;
mod tally;
mod told;
mod worker;

use std::{
    collections::HashMap,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::Context;
use dispatcher::signing::SigningSecret;
use hyper::Uri;
use redis::ConnectionAddr;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc, oneshot},
};

use courier::{Courier, Customer};
use intake::Intake;
use recorder::Recorder;
use shape::Shape;
use tally::Tally;
use worker::Worker;

/// The list of what was taken in.
const QUEUE: &[u8] = b"ceiling:queue";
/// How long what is under way at the end may take.
const DRAIN: Duration = Duration::from_secs(5);

/// Where everything is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Redis, as REDIS_URL; one that asks for no password
    #[arg(long, value_name = "URL", env = "REDIS_URL", hide_env_values = true)]
    pub(crate) redis_url: SecretString,
    /// Postgres, as DATABASE_URL; migrated if need be
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: SecretString,
    /// Where to take requests in, at /hooks/bench or the path of any other source in the database
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Where each event is delivered to; if there are several, to each of them
    #[arg(long = "customer-url", value_name = "http://HOST:PORT/PATH", required = true)]
    pub(crate) customer_urls: Vec<Uri>,
    /// What signs the requests, of whichever source
    #[arg(long, value_name = "SECRET")]
    pub(crate) app_secret: SecretString,
    /// What signs the deliveries
    #[arg(long, value_name = "whsec_…")]
    pub(crate) customer_secret: SecretString,
    /// Nothing at once: each event is pushed, claimed, committed and recorded by itself, by many workers side by side
    #[arg(long)]
    pub(crate) one_by_one: bool,
}

/// What all stages know.
#[derive(Clone)]
struct Common {
    redis: ConnectionAddr,
    database: String,
    /// With their accounts.
    sources: Arc<HashMap<String, String>>,
    customers: Arc<[Customer]>,
    tally: Arc<Tally>,
    shape: Shape,
}

/// Runs until SIGTERM, or the end of standard input. Prints its address at the start, and what it did at the end, a line of
/// JSON each.
///
/// # Errors
/// When an address or a secret is none, or a server cannot be reached; and at the end, when something did not go as planned:
/// then it was no ceiling.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let database = options.database_url.expose_secret().to_owned();
    let common = Common {
        redis: resp::address(options.redis_url.expose_secret())?,
        sources: Arc::new(sources::all(&database).await?),
        database,
        customers: courier::customers(&options.customer_urls)?.into(),
        tally: Arc::default(),
        shape: if options.one_by_one { Shape::ONE_BY_ONE } else { Shape::BATCHED },
    };
    let listener = TcpListener::bind(options.listen).with_context(|| format!("cannot listen on {}", options.listen))?;
    let address = listener.local_addr()?;
    start(&common, &options, listener)?;

    tell(&json!({ "address": address }))?;
    until_told_to_stop().await?;
    let customers = common.customers.len() as u64;
    common.tally.settle(customers, DRAIN).await;
    let report = common.tally.report();
    tell(&report)?;
    report.judge(customers)
}

fn tell(what: &impl Serialize) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{}", serde_json::to_string(what)?)?;
    Ok(())
}

/// Starts the stages, the last one first: nothing comes in that nobody would take on.
fn start(common: &Common, options: &Options, listener: TcpListener) -> anyhow::Result<()> {
    let Shape { waiting, .. } = common.shape;
    let (to_recorder, ended) = mpsc::channel(waiting);
    let (to_couriers, owed) = mpsc::channel(waiting);
    let pushed = Arc::new(Notify::new());

    let recorder = Recorder { common: common.clone() };
    let courier = Courier { common: common.clone(), secret: SigningSecret::parse(&options.customer_secret)? };
    let worker = Worker { common: common.clone(), pushed: pushed.clone() };
    let intake = Intake { common: common.clone(), secret: options.app_secret.clone(), pushed };
    stage::start("recorder", move || recorder.run(ended))?;
    stage::start("courier", move || courier.run(owed, to_recorder))?;
    stage::start("worker", move || worker.run(to_couriers))?;
    stage::start("intake", move || intake.run(listener))
}

async fn until_told_to_stop() -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let (end, ended) = oneshot::channel();
    thread::spawn(move || end.send(io::copy(&mut io::stdin(), &mut io::sink())));
    tokio::select! {
        _ = terminated.recv() => {}
        _ = ended => {}
    }
    Ok(())
}
