//! `latchhook bench`: measures; and its parts, each a process of its own.

use std::{io, net::SocketAddr, path::PathBuf, process, thread};

use anyhow::ensure;
use clap::{Args, Subcommand};
use serde_json::json;
use vocabulary::MasterKey;

use super::{context::Context, run, tuning::Tuning};
use crate::{
    bench::{self, Options, ceiling, delay, one_thread, receive, send},
    dev::DATA_DIR,
    run::Settings,
};

/// Measure how fast all stages are, at which cost, and judge what they did
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Bench {
    #[command(flatten)]
    options: Box<Options>,

    /// Where the servers keep their data; what an earlier bench left there goes
    #[arg(long, value_name = "DIR", default_value_os_t = PathBuf::from(DATA_DIR).join("bench"))]
    data_dir: PathBuf,

    #[command(subcommand)]
    part: Option<Part>,
}

/// What the bench is made of, to measure other programs with. Each tells what it has to tell in lines of JSON.
#[derive(Debug, Subcommand)]
enum Part {
    /// Send signed WhatsApp requests, and tell what was answered
    #[command(hide = true)]
    Send(send::Options),
    /// Be the customer: tells its address, then `GET /counts` and `POST /reset`; ends with its standard input
    #[command(hide = true)]
    Receive(receive::Options),
    /// Be far away: tells its address, and forwards to a socket; ends with its standard input
    #[command(hide = true)]
    Delay(delay::Options),
    /// Be the pipeline that promises nothing: tells its address, then, at SIGTERM or the end of its standard input, what it did
    #[command(hide = true)]
    Ceiling(ceiling::Options),
}

impl Bench {
    /// Runs it.
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        match self.part {
            None => measure(context, &self.options, self.data_dir).await,
            Some(Part::Send(options)) => {
                let sent = one_thread::run("sender", send::send(options)).await??;
                context.out.text(&serde_json::to_string(&sent)?)
            }
            Some(Part::Receive(options)) => be_customer(options, context).await,
            Some(Part::Ceiling(options)) => ceiling::run(options).await,
            Some(Part::Delay(options)) => {
                let delay = delay::Delay::listen(options)?;
                tell(context, delay.address()?)?;
                delay.serve();
                Ok(())
            }
        }
    }
}

async fn measure(context: &mut Context<'_>, options: &Options, data_dir: PathBuf) -> anyhow::Result<()> {
    let settings = settings(context)?;
    let report = bench::bench(&settings, options, data_dir).await?;
    if context.out.is_json() {
        context.out.json(&report)?;
    } else {
        context.out.text(&report.to_string())?;
    }
    ensure!(report.is_right(), "what was measured was wrong: see the lines marked WRONG");
    Ok(())
}

/// Those of the stages, as `run` has them; each run has stores of its own.
fn settings(context: &mut Context<'_>) -> anyhow::Result<Settings> {
    let given = &mut context.settings;
    given.database_url = Some("postgresql:///each-run-has-its-own".into());
    given.redis_url = Some("redis://each-run-has-its-own".into());
    given.master_key = Some(MasterKey::generate());
    given.allow_private_endpoints = Some("127.0.0.0/8".parse()?);
    run::settings(context, ([127, 0, 0, 1], 0).into(), &Tuning::default())
}

async fn be_customer(options: receive::Options, context: &mut Context<'_>) -> anyhow::Result<()> {
    let (address, listens) = tokio::sync::oneshot::channel();
    let serving = one_thread::run("customer", async move {
        let customer = receive::Customer::listen(&options)?;
        // Nobody waits for the address only if this process is about to end.
        let _ = address.send(customer.address()?);
        customer.serve().await;
        anyhow::Ok(())
    });
    let telling = async {
        if let Ok(address) = listens.await {
            tell(context, address)?;
        }
        anyhow::Ok(())
    };
    let (served, told) = tokio::join!(serving, telling);
    served??;
    told
}

/// Tells where this process listens, and ends it with its standard input: whoever started it holds the other end, and lets
/// go of it however he ends.
fn tell(context: &mut Context<'_>, address: SocketAddr) -> anyhow::Result<()> {
    context.out.text(&json!({ "address": address }).to_string())?;
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0);
    });
    Ok(())
}
