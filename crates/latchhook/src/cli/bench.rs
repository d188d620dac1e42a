//! `latchhook bench`: its parts, each a process of its own.

use std::{io, process, thread};

use clap::{Args, Subcommand};
use serde_json::json;

use super::context::Context;
use crate::bench::{one_thread, receive, send};

/// Measure
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Bench {
    #[command(subcommand)]
    command: Command,
}

/// What the bench is made of, to measure other programs with. Each tells what it has to tell in lines of JSON.
#[derive(Debug, Subcommand)]
enum Command {
    /// Send signed WhatsApp requests, and tell what was answered
    #[command(hide = true)]
    Send(send::Options),
    /// Be the customer: tells its address, then `GET /counts` and `POST /reset`; ends with its standard input
    #[command(hide = true)]
    Receive(receive::Options),
}

impl Bench {
    /// Runs it.
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        match self.command {
            Command::Send(options) => {
                let sent = one_thread::run("sender", send::send(options)).await??;
                context.out.text(&serde_json::to_string(&sent)?)
            }
            Command::Receive(options) => be_customer(options, context).await,
        }
    }
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
            context.out.text(&json!({ "address": address }).to_string())?;
            end_with_input();
        }
        anyhow::Ok(())
    };
    let (served, told) = tokio::join!(serving, telling);
    served??;
    told
}

/// Whoever started this process holds the other end of its standard input, and lets go of it however he ends.
fn end_with_input() {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0);
    });
}
